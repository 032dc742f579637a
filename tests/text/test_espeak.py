"""IPA from espeak-ng."""

import os
import threading
from pathlib import Path

import pytest

pytest.importorskip("espeakng_loader", reason="the extra espeak is not installed")

from speech.errors import SpeechError  # noqa: E402
from speech.text.espeak import EspeakPhonemizer, espeak_languages, ipa_tokens  # noqa: E402


@pytest.mark.parametrize(
    "ipa, tokens",
    [
        ("hˈɑːt", ["h", "ˈɑː", "t"]),
        ("bˈɔ̃ vˈɛ̃", ["b", "ˈɔ̃", " ", "v", "ˈɛ̃"]),
        ("prʲivʲˈet", ["p", "rʲ", "i", "vʲ", "ˈe", "t"]),
        ("ni2χˈɑu2 s.ˈi.5", ["n", "i2", "χ", "ˈɑ", "u2", " ", "s.", "ˈi.5"]),
        ("(en)hˈaɪ(de) le-z", ["h", "ˈa", "ɪ", " ", "l", "e", "z"]),
        ("ˌn̩", ["ˌn̩"]),
    ],
)
def test_tokens_of_ipa(ipa: str, tokens: list[str]):
    assert ipa_tokens(ipa) == tokens


def test_english():
    voice = EspeakPhonemizer("en-us")
    assert voice("Hello, world!") == ["h", "ə", "l", "ˈo", "ʊ", ",", " ", "w", "ˈɜː", "l", "d", "!"]
    assert voice("so - [[x y]] no") == ["s", "ˈo", "ʊ", "-", " ", "x", "y", " ", "n", "ˈo", "ʊ"]


def test_marks_survive():
    tokens = EspeakPhonemizer("de")("Ja, nein. Wie? So! Gut; da: hier - dort")
    assert [t for t in tokens if t in ",.?!;:-"] == [*",.?!;:-"]


@pytest.mark.parametrize("language", ["de", "fr", "cmn", "ru", "es", "ja", "ar"])
def test_other_languages(language: str):
    text = {"cmn": "你好世界", "ru": "привет мир", "ja": "こんにちは", "ar": "مرحبا"}.get(language, "una pizza")
    tokens = EspeakPhonemizer(language)(text)
    assert len(tokens) > 4 and not any(t.isspace() and t != " " or "(" in t for t in tokens)


def test_an_unknown_language_names_near_ones():
    with pytest.raises(SpeechError, match="no language 'en-uk', near it are .*en-us"):
        EspeakPhonemizer("en-uk")
    with pytest.raises(SpeechError, match="no language '../x'"):
        EspeakPhonemizer("../x")
    assert {"en-us", "en-gb", "de", "cmn", "fr"} <= set(espeak_languages())


def test_languages_do_not_mix_between_threads():
    texts = {"de": "Guten Tag und auf Wiedersehen", "en-us": "good day and see you again"}
    voices = {language: EspeakPhonemizer(language) for language in texts}
    alone = {language: voices[language](text) for language, text in texts.items()}
    wrong: list[str] = []

    def speak(language: str) -> None:
        wrong.extend(language for _ in range(50) if voices[language](texts[language]) != alone[language])

    threads = [threading.Thread(target=speak, args=(language,)) for language in texts for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif("SPEECH_CORPORA" not in os.environ, reason="SPEECH_CORPORA is unset")
def test_hard_sentences_keep_every_phrase():
    voice = EspeakPhonemizer("en-us")
    file = Path(os.environ["SPEECH_CORPORA"]) / "hard_sentences/fastspeech50.txt"
    for line in file.read_text(encoding="utf-8").splitlines():
        said = voice.spoken(line)
        tokens = voice(said.text)
        assert not said.dropped
        # espeak joins words such as `in the`, so words cannot be counted; sounds to letters can
        letters = sum(c.isalpha() for c in said.text)
        assert 0.5 * letters <= sum(t not in " ,.?!;:-" for t in tokens) <= 2 * letters, line


def test_ten_thousand_characters():
    voice = EspeakPhonemizer("en-us")
    assert len(voice("hello world. " * 770)) == len(voice("hello world. ")) * 770 + 769
    assert len(voice("hello " * 1600)) == len(voice("hello ")) * 1600 + 1599
    assert len([t for t in voice("ab" * 5000) if t != " "]) >= 10000
