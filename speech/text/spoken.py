"""Text to words that can be read aloud."""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from speech.errors import SpeechError
from speech.text.spe import in_words
from speech.text.spoken_de import DE
from speech.text.spoken_en import EN
from speech.text.spoken_language import Language, plain_language
from speech.text.spoken_rules import MARKS, rules_of
from speech.text.spoken_zh import ZH

LITERAL = re.compile(r"\[\[[^\[\]]*\]\]")  # phonemes, taken as they are
HELD = "\ue000"  # stands for a literal while the text around it changes
LANGUAGES = {"en": EN, "de": DE, "zh": ZH, "cmn": ZH}
SILENT = frozenset("\"'`()[]{}<>«»‹›„“”‟¿¡「」『』《》〈〉【】〔〕·・")
SAME = str.maketrans(
    {**dict.fromkeys("‘’ʼ‚‛", "'"), **dict.fromkeys("−‐‑", "-"), **dict.fromkeys("—―", "–"), "。": ".", "、": ","}
)
PASSES = 5  # at most, until nothing changes: what was read may bring an abbreviation to light
KEPT = re.compile("([²³½¼¾™°])")  # a reader says them, NFKC makes others of them


@dataclass(frozen=True)
class Spoken:
    """`dropped` are the characters that nobody will hear, once each: emoji, foreign scripts."""

    text: str
    dropped: list[str]


def spoken(text: str, language: str) -> Spoken:
    """Words with `,.?!;:`, dashes as ` - `, apostrophes and hyphens inside words; twice is once. `[[...]]` stays.

    English and German in full, Mandarin its numbers and percents, other languages the numbers that num2words knows.
    Quotes, brackets and what is invisible have no sound and are not told. SpeechError for a text without a word.
    """
    require_words(text)
    known = language_of(language)
    literals = [m[0] for m in LITERAL.finditer(text)]
    said = _unified(LITERAL.sub(HELD, text.replace(HELD, "\ufffd")))
    words = re.findall(r"[^\W\d_]{2,}", said)
    if known.letters and len(words) > 2 and said == said.upper():
        said = said.lower()  # shouted: no acronym stands out
    dropped: dict[str, None] = {}
    for _ in range(PASSES):
        before = said
        for pattern, say in rules_of(known):
            said = pattern.sub(say, said)
        said = _heard(said, bool(known.letters), dropped)
        if said == before:
            break
    if not (literals or any(c.isalpha() for c in said)):
        raise SpeechError(f"nothing of '{shown(text)}' is spoken in '{language}': {in_words(list(dropped)[:9])}")
    left = iter(literals)
    return Spoken(re.sub(HELD, lambda m: next(left), said), list(dropped))


def require_words(text: str) -> None:
    """SpeechError for a text with no letter and no digit, or with half a character."""
    if not any(c.isalnum() for c in text):
        raise SpeechError(f"no letter and no digit in the text '{shown(text)}'; give words to say")
    if halves := [c for c in text if "\ud800" <= c <= "\udfff"]:
        raise SpeechError(f"text has half a character, U+{ord(halves[0]):04X}")


def shown(text: str) -> str:
    """A text in one short line for an error."""
    text = " ".join(text.split())
    return text if len(text) <= 40 else text[:40] + "..."


@lru_cache(64)
def language_of(language: str) -> Language:
    return LANGUAGES.get(re.split("[-_]", language.lower())[0]) or plain_language(language) or Language(language)


def _unified(text: str) -> str:
    """One form of each letter, digit, apostrophe and dash; nothing invisible."""
    text = "".join(s if i % 2 else unicodedata.normalize("NFKC", s) for i, s in enumerate(KEPT.split(text)))
    visible = (c for c in text if unicodedata.category(c) not in ("Cf", "Me") and not "\ufe00" <= c <= "\ufe0f")
    return "".join(" " if c.isspace() else str(unicodedata.decimal(c, c)) for c in visible).translate(SAME)


def _heard(text: str, latin: bool, dropped: dict[str, None]) -> str:
    """Without the characters that have no sound; those worth telling are added to `dropped`."""
    kept: list[str] = []
    for i, c in enumerate(text):
        is_letter = unicodedata.category(c)[0] in "LM"
        inside = 0 < i < len(text) - 1 and text[i - 1].isalpha() and text[i + 1].isalpha()
        if is_letter and (not latin or unicodedata.name(c, "").startswith(("LATIN", "COMBINING"))):
            kept.append(c)
        elif c in MARKS or c in (" ", "-", HELD) or c.isdigit() or c == "'" and inside:
            kept.append(c)
        else:
            kept.append(" ")
            if c not in SILENT:
                dropped[c] = None
    said = re.sub(r"\s+", " ", "".join(kept))
    said = re.sub(r"(?<=[\u4e00-\u9fff]) (?=[\u4e00-\u9fff])", "", said)
    return re.sub(r" (?=[,.?!;:])|,(?= ?[,.?!;:])", "", said).strip()
