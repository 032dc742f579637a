"""Mandarin as initials and finals."""

import pytest

from speech.errors import SpeechError
from speech.text.pinyin import PinyinPhonemizer


@pytest.mark.parametrize(
    "text, tokens",
    [
        ("银行行长", "in2 h ang2 h ang2 zh ang3"),
        ("我的。鱼", "uo3 d e5 . | v2"),
        ("嗯", "n2"),
        ("他 好，ok", "t a1 | h ao3 , | O K"),
    ],
)
def test_syllables(text: str, tokens: str):
    assert PinyinPhonemizer("zh")(text) == [" " if t == "|" else t for t in tokens.split()]


def test_numbers_are_read_first():
    voice = PinyinPhonemizer("zh")
    assert voice(voice.spoken("12%").text) == voice("百分之十二")


@pytest.mark.parametrize("text, sign", [("好\u3400\u4dbf\u9fffあ", "あ"), ("好5", "5"), ("好é", "é")])
def test_what_has_no_pinyin_is_named(text: str, sign: str):
    with pytest.raises(SpeechError, match="has no phoneme in pinyin"):
        PinyinPhonemizer("zh")(text)


def test_the_users_words_win():
    assert PinyinPhonemizer("zh", {"APP": "ei1 p"})("用APP") == ["iong4", "ei1", "p"]
