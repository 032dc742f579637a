"""Phonemes and their ids."""

from pathlib import Path

import pytest

from speech.errors import SpeechError
from speech.text.phoneme_table import PhonemeTable

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


@pytest.mark.parametrize("symbol", ["_", "^", "$"])
def test_reserved_symbols_are_no_phonemes(symbol: str):
    with pytest.raises(SpeechError, match="is no phoneme"):
        PhonemeTable.build([[symbol]])


def test_a_file_brings_it_back(tmp_path: Path):
    table = PhonemeTable.build(TEXTS)
    table.save(tmp_path)
    assert PhonemeTable.load(tmp_path).symbols == table.symbols
    assert "<space> 3\n" in (tmp_path / "tokens.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "lines, message",
    [
        ("_ 0\n^ 1\n$ 2\n<space> 3\na 5\n", "line 5: 'a 5' is not a phoneme and its id 4"),
        ("_ 0\n^ 1\n$ 2\n<space> 3\na\n", "line 5: 'a' is not"),
        ("_ 0\n^ 1\n$ 2\na 3\n", "phonemes begin with"),
        ("_ 0\n^ 1\n$ 2\n<space> 3\na 4\na 5\n", "phoneme 'a' has two ids"),
        ("_ 0\n^ 1\n$ 2\n<space> 3\na b 4\n", "phoneme 4: 'a b' is empty or has a blank"),
        ("_ 0\n^ 1\n$ 2\n<space> 3\n 4\n", "phoneme 4: '' is empty"),
        ("", "phonemes begin with"),
    ],
)
def test_a_faulty_file_names_the_line(lines: str, message: str, tmp_path: Path):
    (tmp_path / "tokens.txt").write_text(lines, encoding="utf-8")
    with pytest.raises(SpeechError, match=message):
        PhonemeTable.load(tmp_path)


def test_a_missing_or_foreign_file_is_one_line(tmp_path: Path):
    with pytest.raises(SpeechError, match="tokens.txt: cannot be read"):
        PhonemeTable.load(tmp_path)
    (tmp_path / "tokens.txt").write_bytes(b"\xff")
    with pytest.raises(SpeechError, match="not UTF-8"):
        PhonemeTable.load(tmp_path)
