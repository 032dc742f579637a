"""Transcripts to the form a model learns: the one place that changes a text."""

import re
import unicodedata

from speech.errors import SpeechError

RULES = ("none", "en", "zh")

_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u2032\uff07`", "'"))
_HAN = r"[\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]"
_BLANKS_IN_HAN = re.compile(rf"(?<={_HAN})\s+(?={_HAN})")


def normalize(text: str, rule: str) -> str:
    """Apply a rule; twice is once. SpeechError for an unknown rule.

    none: unchanged. en: NFKC, lower case, words of letters, marks and digits with apostrophes inside, single blanks.
    zh: as en, and no blanks between Chinese characters.
    """
    if rule not in RULES:
        raise SpeechError(f"normalisation rule '{rule}' is not one of {', '.join(RULES)}")
    if rule == "none":
        return text
    text = _words(text)
    return _BLANKS_IN_HAN.sub("", text) if rule == "zh" else text


def _words(text: str) -> str:
    # invisible formatting (soft hyphen, joiners) goes first: NFKC may compose the letters around it
    text = "".join(c for c in text.translate(_APOSTROPHES) if unicodedata.category(c) != "Cf")
    text = unicodedata.normalize("NFKC", text).lower()
    text = unicodedata.normalize("NFKC", text).translate(_APOSTROPHES)
    kept = [c if _in_word(c) or _is_inner_apostrophe(text, i) else " " for i, c in enumerate(text)]
    return " ".join("".join(kept).split())


def _in_word(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN"


def _is_inner_apostrophe(text: str, i: int) -> bool:
    return text[i] == "'" and 0 < i < len(text) - 1 and _in_word(text[i - 1]) and _in_word(text[i + 1])
