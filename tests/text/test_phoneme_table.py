"""Phonemes and their ids."""

import pytest

from speech.errors import SpeechError
from speech.text.load import load_tokenizer
from speech.text.phoneme_table import PhonemeTable
from speech.text.phoneme_tokenizer import PhonemeTokenizer

TEXTS = [["h", "ə", " ", "<"], ["ˈoʊ", ",", "h"]]


def test_ids_are_those_of_piper_and_do_not_depend_on_the_order():
    table = PhonemeTable.build(TEXTS)
    assert table.symbols[:4] == ["_", "^", "$", " "]
    assert table.symbols == PhonemeTable.build(TEXTS[::-1]).symbols and len(table) == 9
    assert table.encode(["h", " ", "h"]) == [table.symbols.index("h"), 3, table.symbols.index("h")]


@pytest.mark.parametrize("symbol", ["x", "_", "^", "$", ""])
def test_a_phoneme_that_the_voice_lacks_is_named(symbol: str):
    with pytest.raises(SpeechError, match="the voice has no phoneme '"):
        PhonemeTable.build(TEXTS).encode(["h", symbol])


@pytest.mark.parametrize("symbol", ["_", "^", "$", "<space>"])
def test_reserved_symbols_are_no_phonemes(symbol: str):
    with pytest.raises(SpeechError, match="is no phoneme"):
        PhonemeTable.build([[symbol]])


def test_a_folder_brings_it_back(tmp_path):
    tokenizer = PhonemeTokenizer(PhonemeTable.build(TEXTS), "de")
    tokenizer.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert (again.pieces, again.languages) == (tokenizer.pieces, ["de"])
    assert "<space> 3\n" in (tmp_path / "tokens.txt").read_text(encoding="utf-8")
    assert again.decode(again.encode("h ə | ˈoʊ")) == "h ə | ˈoʊ"


@pytest.mark.parametrize(
    "lines, message",
    [
        ("_ 0\n^ 1\n$ 2\n<space> 3\na\n", "tokens.txt: line 5: 'a' is not a token and its id"),
        ("_ 0\n^ 1\n$ 2\na 3\n", "tokens.txt: phonemes begin with"),
        ("", "tokens.txt: phonemes begin with"),
        (None, "tokens.txt: cannot be read"),
    ],
)
def test_a_faulty_file_is_named(lines: str | None, message: str, tmp_path):
    PhonemeTokenizer(PhonemeTable.build(TEXTS), "de").save(tmp_path)
    (tmp_path / "tokens.txt").unlink()
    if lines is not None:
        (tmp_path / "tokens.txt").write_text(lines, encoding="utf-8")
    with pytest.raises(SpeechError, match=f"^tokenizer .*{message}"):
        load_tokenizer(tmp_path)
