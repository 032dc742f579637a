"""What a voice reads of a text: nothing lost, pauses at their places, faults told."""

import pytest
from tiny_voice import TOKENIZER, parts

from speech.errors import SpeechError
from speech.reading import read
from speech.text.phoneme_table import PhonemeTable
from speech.text.phoneme_tokenizer import PhonemeTokenizer
from speech.voice_parts import VoiceParts

LETTERS = [*"hallo"]


@pytest.mark.parametrize(
    ("text", "phonemes", "pauses"),
    [
        ("Hallo Welt", "hallo welt", {}),
        ("Hallo [[500ms]] Welt", "hallo welt", {6: 0.5}),
        ("Hallo[[0.5s]]Welt", "hallo welt", {6: 0.5}),
        ("Hallo, [[1s]] Welt", "hallo, welt", {7: 1.0}),
        ("Ha[[20ms]]llo", "ha llo", {3: 0.02}),
        ("Hallo [[100ms 0.2s]] [[300ms]] Welt", "hallo welt", {6: 0.6}),
        ("[[1s]] Hallo", "hallo", {0: 1.0}),
        ("Hallo [[1s]]", "hallo", {6: 1.0}),
        ("Hallo. [[1s]]", "hallo.", {7: 1.0}),
        ("[[h a | 250ms | l]]", "ha l", {3: 0.25}),
        ("[[0ms]] so", "so", {0: 0.0}),
    ],
)
def test_a_pause_is_the_blank_at_its_place(text, phonemes, pauses):
    (found,) = read(text, parts())
    assert "".join(found.phonemes) == phonemes and found.pauses == pytest.approx(pauses)
    assert found.ids == [1, *TOKENIZER.table.encode(list(phonemes)), 2]
    assert len(found.silent) == len(found.ids) and found.silent.count(True) == sum(not c.isalpha() for c in phonemes)


def test_a_pause_between_sentences_may_stand_alone():
    found = read("Hallo.\n[[2s]]\nWelt.", parts())
    assert [(r.ids[1:-1] != [], r.pauses) for r in found] == [(True, {}), (False, {0: 2.0}), (True, {})]


def test_what_looks_like_a_pause_but_is_a_phoneme_of_the_voice_is_spoken():
    table = PhonemeTable.build([["s", "o", "5s"]])
    voice = VoiceParts(PhonemeTokenizer(table, "de"), parts().phonemizers)
    (found,) = read("so [[5s 6s]] so", voice)
    assert found.phonemes == ["s", "o", " ", "5s", " ", "s", "o"] and found.pauses == {5: 6.0}


@pytest.mark.parametrize("text", ["a", "wort ", "wort, ", "Wort. ", "[[w o]] wort\n"])
def test_of_ten_thousand_characters_nothing_is_lost(text):
    text *= 10_000 // len(text)
    found = read(text, parts())
    said = "".join(c for r in found for c in r.phonemes if c.isalpha())
    assert said == "".join(c for c in text.lower() if c.isalpha())
    assert len(found) > 30 and max(len(r.text) for r in found) <= 300 and not any(r.dropped for r in found)


def test_each_language_reads_in_its_own_way():
    assert ["".join(read("3", parts(), language)[0].phonemes) for language in (None, "de", "fr")] == [
        *("drei", "drei", "trois")
    ]


def test_characters_without_a_sound_are_told():
    (found,) = read("Hallo 😀 мир!", parts())
    assert found.phonemes == [*LETTERS, "!"] and found.dropped == ["😀", "м", "и", "р"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no letter and no digit"),
        (" \n ", "no letter and no digit"),
        ("?! ... -", "no letter and no digit"),
        ("😀", "no letter and no digit"),
        ("[[]]", "no letter and no digit"),
        ("мир", "nothing of 'мир' is spoken in 'de'"),
        ("Hallo. 你好。", "nothing of '你好。' is spoken in 'de'"),
        ("hallo [[q 5x]] [[q]]", "the voice has no phoneme 'q' '5x'; .* 28 phonemes"),
        ("Yoga", "the voice has no phoneme 'y'"),
        ("[[500ms]]", r"nothing but pauses in '\[\[500ms\]\]'"),
        ("[[1s]]\n[[2s]]", "nothing but pauses"),
        ("so [[10.1s]] da", "pauses of 10.1 s in 'so .*' are above 10 s"),
        ("so [[6s]] da [[6s]]", "pauses of 12 s"),
        ("so [[-1s]] da", "no phoneme '-1s'"),
        ("so [[h" + " h" * 300 + "]] da", r"phonemes in \[\[ \]\] of 605 characters; a sentence has 300"),
    ],
)
def test_a_text_that_cannot_be_read_is_one_line(text, message):
    with pytest.raises(SpeechError, match=message) as caught:
        read(text, parts())
    assert "\n" not in str(caught.value)


def test_an_unknown_language_is_told():
    with pytest.raises(SpeechError, match="language 'en' is none of de, fr"):
        read("so", parts(), "en")
