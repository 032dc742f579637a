"""English to be read aloud."""

import re

from speech.text.spoken_language import Language, stop, tables

MONTHS = "January February March April May June July August September October November December".split()
MONTH = rf"(?P<month>{'|'.join(MONTHS)}|(?:{'|'.join(m[:3] for m in MONTHS)}|Sept)\.)"
HALF = r"\s?([aApP])(?:\.[mM]\.|[mM]\b)"
FRACTIONS = {2: ("half", "halves"), 4: ("quarter", "quarters")}

# where `a` is no article: no word follows, another lone letter stands beside it, or it is a capital inside a sentence
NO_WORD = r"\s*(?:[,;:?!/\\)]|\.(?!\w)|-\s|$)"
LETTER_A = (
    rf"(?<![\w'.-])(?:a(?=\s[b-z]\b(?!')|{NO_WORD})|(?<=(?<![\w'])[b-z]\s)a"
    rf"|(?<=[\w,]\s)A|A(?=\s[B-Z]\b(?!')|{NO_WORD}))(?![\w'-])"
)


def _date(month: int, day: int, year: str) -> str | None:
    """None for numbers that are no date."""
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    return f"{MONTHS[month - 1]} {EN.cardinal(day, 'ordinal')} {EN.year(int(year))}"


def _slashed(m: re.Match[str]) -> str:
    """Month first, as in the US, unless that cannot be."""
    a, b, year = int(m[1]), int(m[2]), m[3]
    return _date(a, b, year) or _date(b, a, year) or m[0].replace("/", " slash ")


def _iso(m: re.Match[str]) -> str:
    return _date(int(m[2]), int(m[3]), m[1]) or m[0].replace("-", " dash ")


def _named(m: re.Match[str]) -> str:
    """`4 March`, `March 4th, 1920`: the day becomes an ordinal, the year stays to be read as one."""
    month = next(name for name in MONTHS if name.startswith(m["month"][:3]))
    day = EN.cardinal(int(m["day"]), "ordinal")
    return f"{month} {day}" if m["month"] == m[0][: len(m["month"])] else f"the {day} of {month}"


def _time(m: re.Match[str]) -> str:
    hour, minute, second, half = int(m[1]), int(m[2] or 0), m[3], m[4]
    said = EN.cardinal(hour)
    if minute:
        said += f" {'oh ' if minute < 10 else ''}{EN.cardinal(minute)}"
    elif not half:
        said += " o'clock" if hour <= 12 else " hundred"
    if second:
        said += f" and {EN.count(str(int(second)), ('second', 'seconds'))}"
    return f"{said} {EN.spell(half + 'm')}{stop(m)}" if half else said


def _decade(m: re.Match[str]) -> str:
    said = EN.year(int(m[1]))
    return said[:-1] + "ies" if said.endswith("y") else said + "s"


def _ordinal(m: re.Match[str]) -> str:
    return EN.cardinal(int(m[1].replace(",", "")), "ordinal")


def _fraction(m: re.Match[str]) -> str:
    over, under = int(m[1]), int(m[2])
    if not 0 < over < under <= 10:
        return f"{m[1]} slash {m[2]}"
    name = EN.cardinal(under, "ordinal")
    return f"{EN.cardinal(over)} {FRACTIONS.get(under, (name, name + 's'))[over > 1]}"


EN = Language(
    **tables("en"),
    years=range(1100, 2100),
    rules=(
        (r"(?<![\w/])(\d{1,2})/(\d{1,2})/(\d{4}|\d{2})(?![\w/])", _slashed),
        (r"(?<![\w-])(\d{4})-(\d\d)-(\d\d)(?![\w-])", _iso),
        (rf"(?<!\w){MONTH}\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?![\w:]|\.\d)", _named),
        (rf"(?:\bthe\s+|(?<![\w.,]))(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?{MONTH}(?!\w)", _named),
        (rf"(?<![\w:])([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?![\d:])(?:{HALF})?", _time),
        (rf"(?<![\w:.])(1[0-2]|[1-9])()(){HALF}", _time),
        (r"(?<![\w.,])'?(\d{1,3}0)s\b", _decade),
        (r"(?<![\w.,])(\d[\d,]*)(?:st|nd|rd|th)\b", _ordinal),
        (r"(?<![\w/.,])(\d{1,2})/(\d{1,2})(?![\w/])", _fraction),
        (r"(?<=\d)½", " and a half"),
        (r"(?<=\d)(?=[¼¾])", " and "),
        (r"(?:\bNos?\.|#)\s?(?=\d)", "number "),
        (r"~\s?(?=\d)", "about "),
        (r"(?<=[a-z]\s)St\.(?!\s+[A-Z])", "Street"),
        (r"(?<=[a-z]\s)Dr\.(?!\s+[A-Z])", "Drive"),
        (r"\bSt(?=\s[A-Z])", "Saint"),
        (LETTER_A, lambda m: EN.letters["a"]),
    ),
)
