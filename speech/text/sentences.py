"""Long text to pieces that a voice can say in one go."""

import re
import unicodedata
from collections.abc import Iterator

from speech.errors import SpeechError
from speech.text.spoken import LITERAL, language_of, require_words
from speech.text.spoken_language import Language

LIMIT, SHORTEST_LIMIT = 300, 20
CLOSING = "\"'”’»)\\]」』）"
END = re.compile(rf"[.?!]+[{CLOSING}]*(?=\s)|[。？！]+[{CLOSING}]*|\s*\n\s*")
CLAUSE = re.compile(rf"[,;:][{CLOSING}]*\s|[，；：、][{CLOSING}]*")


def sentences(text: str, language: str, limit: int = LIMIT) -> list[str]:
    """Pieces of at most `limit` characters; joined with blanks they are the text, but for its blanks.

    Cut at `. ? ! 。 ？ ！` and line ends, not after abbreviations; what is longer at the last clause in the second
    half, else at the last blank, else at the limit. What has no letter or digit stays with a neighbour, past the limit.
    """
    require_words(text)
    if limit < SHORTEST_LIMIT:
        raise SpeechError(f"limit {limit} of characters in a sentence is below {SHORTEST_LIMIT}")
    if longest := max((len(m[0]) for m in LITERAL.finditer(text) if len(m[0]) > limit), default=0):
        raise SpeechError(f"phonemes in [[ ]] of {longest} characters; a sentence has {limit}, divide them")
    mask = LITERAL.sub(lambda m: "x" * len(m[0]), text)  # no cut inside phonemes
    lang = language_of(language)
    pieces: list[str] = []
    start, silent = 0, ""
    for end in [*(m.end() for m in END.finditer(mask) if _ends(mask, m, lang)), len(text)]:
        for first, last in _short(mask, start, end, limit):
            piece = text[first:last].strip()
            if any(c.isalnum() for c in piece):
                pieces.append(f"{silent} {piece}".strip())
                silent = ""
            elif pieces:
                pieces[-1] = f"{pieces[-1]} {piece}".strip()
            else:
                silent = f"{silent} {piece}".strip()
        start = end
    return pieces


def _ends(text: str, m: re.Match[str], lang: Language) -> bool:
    """Whether a sentence ends here."""
    if "\n" in m[0] or m[0][0] in "。？！":
        return True
    if text[m.end() : m.end() + 40].lstrip()[:1].islower():
        return False
    if m[0][0] != "." or m[0].startswith(".."):
        return True
    word = re.split(r"[\s\"'“‘(\[]", text[max(0, m.start() - 40) : m.start()])[-1] + "."
    if word in lang.endings:
        return True
    if word in lang.abbreviations or re.fullmatch(r"(?:[^\W\d_]\.)*[^\W\d_]\.", word) and word != "I.":
        return False
    number = lang.starts and re.fullmatch(r"\d{1,3}\.", word)
    return not number or re.match(rf"\s*(?:{lang.starts})\b", text[m.end() : m.end() + 40]) is not None


def _short(text: str, start: int, end: int, limit: int) -> Iterator[tuple[int, int]]:
    while end - start > limit:
        last = start + limit
        clauses = [m.end() for m in CLAUSE.finditer(text, start + limit // 2, last)]
        blanks = [m.end() for m in re.compile(r"\s").finditer(text, start + 1, last)]
        cut = (clauses or blanks or [last])[-1]
        while cut > start + 1 and unicodedata.category(text[cut])[0] == "M":
            cut -= 1  # a letter keeps its marks
        yield start, cut
        start = cut
    yield start, end
