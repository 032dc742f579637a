"""Reading aloud: what is said is right, twice is once, and nothing is lost in silence."""

import os
import random
import re
from pathlib import Path

import pytest

from speech.errors import SpeechError
from speech.text.spoken import spoken

ENGLISH = {
    "$500 on 3/4/1920": "five hundred dollars on March fourth nineteen twenty",
    "On 25/12/2010, 2020-12-31 and March 4th, 1905.": "On December twenty fifth twenty ten, December thirty first "
    "twenty twenty and March fourth, nineteen oh five.",
    "$3.50, $1.01, $0.99, $2.5 million, 500 €": "three dollars and fifty cents, one dollar and one cent, "
    "ninety nine cents, two point five million dollars, five hundred euros",
    "At 3:05 p.m. or 9am, 3:00.": "At three oh five pee em or nine eh em, three o'clock.",
    "5.2% of 1,234 in the 1990s": "five point two percent of one thousand two hundred and thirty four in the nineteen "
    "nineties",
    "pages 5-10, 1914–1918": "pages five to ten, nineteen fourteen to nineteen eighteen",
    "1st, 23rd, 1/2, 2/3, 2½": "first, twenty third, one half, two thirds, two and a half",
    "1 kg, 5 kg, 50 km/h, 20°C, 10 m²": "one kilogram, five kilograms, fifty kilometers per hour, "
    "twenty degrees Celsius, ten square meters",
    "Dr. Smith of Main St. near St. Mary's": "Doctor Smith of Main Street near Saint Mary's",
    "e.g. the BBC, NASA and DVDs etc.": "for example the bee bee see, Nasa and dee vee dees et cetera.",
    "MS03 ole32 0x80 H 8K C++": "em ess zero three ole thirty two zero ex eight zero aitch eight kay see plus plus",
    "there's a big one and i'm i": "there's a big one and i'm i",
    "Mrs Ott, Dr Lee of St Ives vs Mr. X": "Missus Ott, Doctor Lee of Saint Ives versus Mister ex",
    "A dog, a cat; vitamin A, a b c": "A dog, a cat; vitamin eh, eh bee see",
    "3 + 4 = 7 & #5 @ 2.0.1": "three plus four equals seven and number five at two point zero point one",
    "me@x.org, www.x.org/a": "me at ex dot org, double-you double-you double-you dot ex dot org slash eh",
    "-5 and 007 and .05": "minus five and zero zero seven and point zero five",
    "Call 555-1234.": "Call five five five, one two three four.",
    "World War II, A320": "World War two, eh three two zero",
    "WAIT FOR ME": "wait for me",
    "wait — no...": "wait - no...",
    "٣ ｘ, 3x²": "three ex, three ex squared",
}
GERMAN = {
    "Am 3.4.1920 um 14:30 Uhr, 3. Mai": "Am dritten vierten neunzehnhundertzwanzig um vierzehn Uhr dreißig, "
    "dritter Mai",
    "5,50 €, 1 €, 10 Mio. €": "fünf Euro fünfzig, ein Euro, zehn Millionen Euro",
    "z. B. Dr. Ott, d.h. ca. 25 %": "zum Beispiel Doktor Ott, das heißt circa fünfundzwanzig Prozent",
    "der 2. Weltkrieg im 20. Jahrhundert": "der zweite Weltkrieg im zwanzigsten Jahrhundert",
    "1.234,5 und 1 234 567": "eintausendzweihundertvierunddreißig Komma fünf und "
    "eine Million zweihundertvierunddreißigtausendfünfhundertsiebenundsechzig",
    "ARD & MS03, 1914-1918": "ah err deh und emm ess null drei, neunzehnhundertvierzehn bis neunzehnhundertachtzehn",
    "Er ist 18. Sie ist 20.": "Er ist achtzehn. Sie ist zwanzig.",
}
OTHERS = [
    ("fr", "21 ans, 3,5 et -5", "vingt et un ans, trois virgule cinq et moins cinq"),
    ("it", "2,5", "due virgola cinque"),  # num2words itself loses the five
    ("zh", "他有123元，10%，2023年，10005", "他有一百二十三元,百分之十,二零二三年, 一万零五"),
    ("pt-br", "21", "vinte e um"),
]


@pytest.mark.parametrize("text, said", ENGLISH.items())
def test_english(text: str, said: str):
    assert spoken(text, "en-us").text == said


@pytest.mark.parametrize("text, said", GERMAN.items())
def test_german(text: str, said: str):
    assert spoken(text, "de").text == said


@pytest.mark.parametrize("language, text, said", OTHERS)
def test_other_languages_have_their_numbers(language: str, text: str, said: str):
    assert spoken(text, language).text == said


@pytest.mark.parametrize("language", ["en", "de", "fr", "zh"])
def test_every_number_has_its_own_words(language: str):
    numbers = range(0, 10001, 1 if language in ("en", "de") else 41)
    said = [part.strip() for part in spoken("; ".join(map(str, numbers)), language).text.split(";")]
    assert len(said) == len(numbers)
    assert not any(c.isdigit() for text in said for c in text)
    # English years are read in pairs: `nineteen hundred` and `two thousand` stay apart from all others
    assert len(set(said)) == len(said)


@pytest.mark.parametrize("language", ["en", "de"])
def test_large_numbers_years_and_ordinals(language: str):
    rng = random.Random(0)
    for _ in range(40):
        n = rng.randrange(10 ** rng.randint(5, 30))
        sign = "st" if language == "en" else ". Mai"
        for text in (f"{n}", f"{n:,}", f"im Jahr {n % 3000}", f"{n % 30 + 1}{sign}", f"x{n}", f"{n}.{n}", f"{n},{n}"):
            assert not any(c.isdigit() for c in spoken(text, language).text), text


@pytest.mark.parametrize("language", ["en", "de", "fr", "zh"])
def test_twice_is_once(language: str):
    rng = random.Random(1)
    parts = [*"aAbBiIyZ0123456789äß", *" .,:;!?-–+/$€%&@#'\"()[]_\\<>~*", " ", " ", "Dr.", "St.", "am", "Uhr", "km"]
    parts += ["z. B.", "1st", "[[ h ə ]]", "😀", "的", "A ", " a ", "II", "NASA", "USA", "Inc.", "May", "p.m.", "NOT"]
    for _ in range(600):
        text = "w " + "".join(rng.choices(parts, k=rng.randint(1, 12)))
        once = spoken(text, language).text
        assert spoken(once, language).text == once, text


@pytest.mark.parametrize("language, table", [("en", ENGLISH), ("de", GERMAN)])
def test_twice_is_once_for_the_examples(language: str, table: dict[str, str]):
    for said in table.values():
        assert spoken(said, language).text == said


def test_nothing_is_dropped_in_silence():
    said = spoken("hello 😀 你好 world ❤️ 😀", "en")
    assert (said.text, said.dropped) == ("hello world", ["😀", "你", "好", "❤"])
    assert spoken("Привет 😀", "ru").dropped == ["😀"]
    assert spoken("“quoted” (so) a\u200db\u00ad", "en").dropped == []


def test_every_sign_of_a_text_is_heard_or_told():
    """Letters, digits and symbols: each one alone changes what is said, or stands among the dropped."""
    signs = [chr(c) for block in ((33, 127), (161, 384), (0x2010, 0x2040), (0x20A0, 0x20C0)) for c in range(*block)]
    plain = spoken("one two", "en").text
    for sign in signs:
        said = spoken(f"one {sign} two", "en")
        silent = sign in "\"'`()[]{}«»‹›„“”‟¿¡‘’‚‛·" or not sign.isprintable()
        assert silent or said.text != plain or said.dropped, sign


@pytest.mark.parametrize("text", ["", "  ", "...", "?! -- «»", "😀"])
def test_a_text_without_words_is_an_error(text: str):
    with pytest.raises(SpeechError, match="no letter and no digit in the text"):
        spoken(text, "en")


def test_a_text_of_foreign_letters_is_an_error():
    with pytest.raises(SpeechError, match=r"nothing of '你好' is spoken in 'en': '你' \(U\+4F60\)"):
        spoken("你好", "en")


def test_half_a_character_is_an_error():
    with pytest.raises(SpeechError, match=r"half a character, U\+D800"):
        spoken("a\ud800", "en")


def test_numbers_of_an_unknown_language_are_an_error():
    assert spoken("hello", "xx").text == "hello"
    with pytest.raises(SpeechError, match="no words for the number 5 in 'xx'"):
        spoken("hello 5", "xx")


LONG = ("a", "1", "1-", "a1", "A.", "x@", "$1 ", "1,", "[[", "ab ", "1.")


@pytest.mark.parametrize("text", [part * (10000 // len(part)) + "a" for part in LONG], ids=LONG)
@pytest.mark.parametrize("language", ["en", "de", "fr"])
def test_ten_thousand_characters(text: str, language: str):
    assert not re.search(r"\d", spoken(text, language).text)


@pytest.mark.skipif("SPEECH_CORPORA" not in os.environ, reason="SPEECH_CORPORA is unset")
def test_hard_sentences_lose_nothing():
    file = Path(os.environ["SPEECH_CORPORA"]) / "hard_sentences/fastspeech50.txt"
    for line in file.read_text(encoding="utf-8").splitlines():
        said = spoken(line, "en")
        assert not said.dropped and not re.search(r"[^A-Za-z,.?!;: '-]", said.text), said
