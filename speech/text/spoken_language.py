"""What reading aloud needs to know of a language, and its numbers in words."""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from speech.errors import SpeechError

Said = str | Callable[[re.Match[str]], str]  # for what a pattern matches
LONGEST_NUMBER = 15  # digits; longer ones are read digit by digit
TEXT_END = re.compile(r"[\s\"')\]]*$")
POINTS = {"it": "virgola", "id": "koma", "vi": "phẩy"}  # those that num2words lacks
FAULTS = (NotImplementedError, KeyError, OverflowError, ValueError, TypeError, AttributeError, IndexError)


@dataclass(frozen=True, eq=False)
class Language:
    """`rules` are its own, applied before the common ones. Tables with a singular have (one, many).

    `abbreviations` stand before something, `endings` may end a sentence; both with their full stop.
    """

    code: str  # as num2words has it
    thousands: str = "."
    decimal: str = ","
    point: str = ","
    to: str = "-"
    years: range = range(0)  # four plain digits in it are a year
    one: str = ""  # before a unit; without it the cardinal
    money: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    scales: Mapping[str, str] = field(default_factory=dict)  # what stands between an amount and its currency
    cents: tuple[str, str] = ("", "")
    with_cents: str = ""  # format of an amount with `whole`, `cents` and their `name`
    units: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    abbreviations: Mapping[str, str] = field(default_factory=dict)
    endings: Mapping[str, str] = field(default_factory=dict)
    symbols: Mapping[str, str] = field(default_factory=dict)
    letters: Mapping[str, str] = field(default_factory=dict)  # names of the letters; without them none is spelt
    words: frozenset[str] = frozenset()  # short ones that look like acronyms in capitals, or have no vowel
    starts: str = ""  # where a number may be an ordinal by its full stop: the words that begin a sentence after one
    rules: Sequence[tuple[str, Said]] = ()

    @property
    def amount(self) -> str:
        """Pattern of a number with groups of thousands and decimals."""
        t, d = re.escape(self.thousands), re.escape(self.decimal)
        return rf"(?<!\d)(?:\d{{1,3}}(?:{t}\d{{3}})+(?!\d)|\d+)(?:{d}\d+)?"

    @property
    def minus(self) -> str:
        return self.cardinal(-1).removesuffix(self.cardinal(1)).strip()

    def cardinal(self, value: int, to: str = "cardinal") -> str:
        """Also `to` ordinal or year. Words without commas and hyphens."""
        return _in_words(value, self.code, to)

    def year(self, value: int) -> str:
        return self.cardinal(value, "year" if value in self.years else "cardinal")

    def digits(self, digits: str) -> str:
        return " ".join(self.cardinal(int(digit)) for digit in digits if digit.isdecimal())

    def number(self, text: str) -> str:
        """What `amount` matches, in words; digit by digit with a leading zero, behind the point or when too long."""
        whole, _, fraction = text.replace(self.thousands, "").partition(self.decimal)
        by_digit = len(whole) > LONGEST_NUMBER or len(whole) > 1 and whole[0] == "0"
        said = self.digits(whole) if by_digit else self.cardinal(int(whole))
        return f"{said} {self.point} {self.digits(fraction)}" if fraction else said

    def count(self, number: str, names: tuple[str, str]) -> str:
        """A number and the singular or plural of what it counts."""
        if number == "1":
            return f"{self.one or self.number(number)} {names[0]}"
        return f"{self.number(number)} {names[1]}"

    def spell(self, text: str) -> str:
        """Letter by letter, digits too."""
        return " ".join(self.digits(c) if c.isdecimal() else self.letters.get(c.lower(), c) for c in text)


@lru_cache(4096)
def _in_words(value: int, code: str, to: str) -> str:
    from num2words import num2words  # loads every language: only where a number is read

    try:
        said = str(num2words(value, lang=code, to=to))
    except FAULTS:
        raise SpeechError(f"no words for the number {str(value)[:20]} in '{code}'; write it out") from None
    return " ".join(said.replace(",", "").replace("-", " ").split())


def plain_language(language: str) -> Language | None:
    """One that only has its numbers read; None where num2words does not know it."""
    from num2words import CONVERTER_CLASSES

    base, _, region = language.replace("_", "-").partition("-")
    for code in (f"{base.lower()}_{region.upper()}", base.lower()):
        if code in CONVERTER_CLASSES:
            point = getattr(CONVERTER_CLASSES[code], "pointword", None) or POINTS.get(code, "")
            point = point[-1] if isinstance(point, tuple) else point
            eastern = base in ("ja", "ko", "th", "he")
            marks = (",", ".") if eastern else (".", ",")
            return Language(code, *marks, point=point.strip() if point[:1].isalpha() else ",")
    return None


def stop(m: re.Match[str]) -> str:
    """The full stop of an abbreviation also ends the text."""
    return "." if m[0].endswith(".") and TEXT_END.match(m.string, m.end()) else ""


def tables(code: str) -> dict[str, Any]:
    """Fields of a Language out of its file, such as en.toml."""
    found = tomllib.loads(Path(__file__).with_name(f"{code}.toml").read_text(encoding="utf-8"))
    plural = found.pop("plural")
    for name in ("money", "units"):
        rows = found[name].items()
        found[name] = {key: (said, said + plural) if isinstance(said, str) else tuple(said) for key, said in rows}
    found["letters"] = dict(zip(found.pop("alphabet"), found["letters"].split(), strict=True))
    found["words"] = frozenset(found["words"].split())
    return {"code": code, **found}
