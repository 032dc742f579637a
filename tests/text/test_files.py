"""Files of tokens, whose faults are told by line."""

import pytest

from speech.errors import SpeechError
from speech.text.files import read_tokens


def test_forms_of_a_line():
    assert read_tokens("a 0\nb\n<space> 2\r\n\u2581c 3".encode()) == ["a", "b", " ", "\u2581c"]
    assert read_tokens("\ufeffa\n\nb\n".encode()) == ["a", " ", "b"]
    assert read_tokens("\u200b 0\n\u0085\n".encode()) == ["\u200b", " "]  # only a line end ends a line
    assert read_tokens(b"") == []


@pytest.mark.parametrize(
    "data, message",
    [
        (b"a 0\nb 2\n", "line 2: id '2' where 1 is due"),
        (b"a 1\n", "line 1: id '1' where 0 is due"),
        (b"a 0\nb x\n", "line 2: id 'x' where 1 is due"),
        (b"a 0\nb " + b"9" * 10000, "line 2: id '99999999999999999999' where 1 is due"),
        (b"a 0\nb 1\na 2\n", "line 3: token 'a' stands in line 1 too"),
        (b"x" * 9000 + b"\n" + b"x" * 9000, "line 2: token 'xxxx"),
        (b"<space>\n\n", "line 2: token ' ' stands in line 1 too"),
        (b"a 0\nb c 1\n", "line 2: 'b c 1' is not a token and its id"),
        (b"a 0\nb 1\n\xff\xfe 2\n", "line 3: not UTF-8"),
    ],
)
def test_a_faulty_line_is_named(data, message):
    with pytest.raises(SpeechError) as caught:
        read_tokens(data)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("line", ["b", " 1", ""])
def test_where_ids_are_needed_a_line_without_one_is_named(line):
    with pytest.raises(SpeechError, match="^line 2: .* is not a token and its id$"):
        read_tokens(f"a 0\n{line}\nc 2\n".encode(), ids_needed=True)
