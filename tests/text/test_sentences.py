"""Long texts to sentences, nothing lost."""

import os
import random
from pathlib import Path

import pytest

from speech.errors import SpeechError
from speech.text.sentences import sentences


def squeezed(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize(
    "language, text",
    [
        ("en", "Hello there.|How are you?|Fine!"),
        ("en", "Dr. Smith met Mr. J. R. Ott at 3.5 p.m. today.|He paid $3.50 etc.|Then he left."),
        ("en", "He said “Go!”|She went... slowly.|Really?!"),
        ("en", "U.S. troops, e.g. Marines.|It was I.|Yes"),
        ("en", "“What?” he asked.|No."),
        ("de", "Am 3. Mai kam Dr. Ott, z. B. mit Prof. Lee.|Er ist 18.|Sie ist 20."),
        ("de", "Der 2. Weltkrieg usw.|Danach war Ruhe."),
        ("zh", "你好。|世界！|好吗？"),
        ("fr", "Bonjour.|Ça va ?|Oui"),
        ("en", "one\n|two\n\n|three"),
        ("en", "say [[h ə . L o? X]] now.|Yes."),
    ],
)
def test_sentences(language: str, text: str):
    pieces = text.split("|")
    whole = " ".join(pieces) if language != "zh" else "".join(pieces)
    assert sentences(whole, language) == [piece.strip() for piece in pieces]


@pytest.mark.parametrize(
    "text, pieces",
    [
        ("aaaa bbbb cccc, dddd eeee", ["aaaa bbbb cccc,", "dddd eeee"]),
        ("aaaa, bbbb cccc dddd eeee", ["aaaa, bbbb cccc", "dddd eeee"]),
        ("a" * 50, ["a" * 20, "a" * 20, "a" * 10]),
        ("你" * 15 + "，" + "好" * 15, ["你" * 15 + "，", "好" * 15]),
        ("aaaa [[b c d e f g h]] cccc dd", ["aaaa", "[[b c d e f g h]]", "cccc dd"]),
    ],
)
def test_long_sentences_are_cut_at_clauses_then_blanks_then_anywhere(text: str, pieces: list[str]):
    assert sentences(text, "en", limit=20) == pieces


@pytest.mark.parametrize("language", ["en", "de", "zh", "ru"])
def test_nothing_is_lost_and_the_limit_holds(language: str):
    rng = random.Random(0)
    parts = ["word", "Word", "Dr.", "z. B.", "5.", *'好。？.!,;\n😀"', "[[a b]]", "e\u0301"]
    for _ in range(300):
        text = "x" + "".join(part + rng.choice(["", " ", "  "]) for part in rng.choices(parts, k=60))
        pieces = sentences(text, language, limit=40)
        assert squeezed("".join(pieces)) == squeezed(text)
        assert all(any(c.isalnum() for c in piece) for piece in pieces)
        assert not any(piece.startswith("\u0301") for piece in pieces)
        # marks alone stay with a neighbour
        assert all(sum(c.isalnum() for c in piece) <= 40 for piece in pieces)


def test_marks_alone_stay_with_a_neighbour():
    assert sentences("... Hello. 😀. ! Yes", "en") == ["... Hello. 😀. !", "Yes"]


@pytest.mark.parametrize(
    "text", ["a" * 10000, "a. " * 3333, "A." * 5000, ", " * 5000 + "a", "\n" * 9999 + "a", "[[" * 5000]
)
def test_ten_thousand_characters(text: str):
    if "[[" in text:
        text += "a"
    assert squeezed("".join(sentences(text, "en"))) == squeezed(text)


@pytest.mark.parametrize("text", ["", "\n", "...", "😀"])
def test_a_text_without_words_is_an_error(text: str):
    with pytest.raises(SpeechError, match="no letter and no digit"):
        sentences(text, "en")


def test_a_limit_too_low_is_an_error():
    with pytest.raises(SpeechError, match="limit 5 of characters in a sentence is below 20"):
        sentences("a", "en", 5)


@pytest.mark.skipif("SPEECH_CORPORA" not in os.environ, reason="SPEECH_CORPORA is unset")
def test_a_chapter():
    text = (Path(os.environ["SPEECH_CORPORA"]) / "long_en/LJ001_chapter.txt").read_text(encoding="utf-8")
    pieces = sentences(text, "en")
    assert squeezed("".join(pieces)) == squeezed(text) and max(map(len, pieces)) <= 300
