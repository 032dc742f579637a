"""Text normalisation per corpus, in one place. Every rule is idempotent."""

import re
import unicodedata

from speech.errors import SpeechError

_QUOTES = str.maketrans({"‘": "'", "’": "'", "`": "'", "´": "'"})
_HAN = "\u3400-\u4dbf\u4e00-\u9fff"


def _none(text: str) -> str:
    return text


def _en(text: str) -> str:
    text = unicodedata.normalize("NFKC", text.translate(_QUOTES)).translate(_QUOTES).lower()
    text = re.sub(r"[^\w' ]|_", " ", text)
    text = re.sub(r"(?<!\w)'+|'+(?!\w)", " ", text)  # apostrophes stay inside words only
    return " ".join(text.split())


def _zh(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).lower()
    text = " ".join(re.sub(r"[^\w' ]|_", " ", text).split())
    return re.sub(rf"(?<=[{_HAN}]) (?=[{_HAN}])", "", text)


RULES = {"none": _none, "en": _en, "zh": _zh}


def normalize(text: str, rule: str) -> str:
    """Text under the named rule: en lower-cases and keeps letters, digits and inner apostrophes; zh also joins Han."""
    if rule not in RULES:
        raise SpeechError(f"normalisation rule {rule!r} is unknown; there are {', '.join(RULES)}")
    return RULES[rule](text)
