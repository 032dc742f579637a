"""German to be read aloud."""

import re

from speech.text.spoken_language import Language, tables

MONTHS = "Januar Februar März April Mai Juni Juli August September Oktober November Dezember".split()
SHORT = {"Jan.": "Januar", "Feb.": "Februar", "Aug.": "August", "Sept.": "September"}
SHORT |= {"Okt.": "Oktober", "Nov.": "November", "Dez.": "Dezember"}
MONTH = "|".join([*MONTHS, *map(re.escape, SHORT)])
BEFORE = r"(?P<before>\b[A-Za-zäöü]+\s+)?"
DAY = rf"{BEFORE}(?<![\w.,])(?P<day>\d{{1,2}})\.\s?"
DATIVE = "am im vom zum zur dem den des der bis seit beim einem einer ab nach diesem jedem".split()
# a number and a full stop before one of these end a sentence
STARTS = "Der|Die|Das|Er|Sie|Es|Wir|Ich|Ihr|Du|Ein|Eine|Und|Aber|Dann|In|Im|Am|Auf|Mit|Nach|So|Wie|Was|Wer|Wo|Da|Nr|Dr"


def _ordinal(number: str, before: str | None, noun: str = "") -> str:
    """With the ending that the word before asks for."""
    said = DE.cardinal(int(number), "ordinal")
    word = (before or "").strip().lower()
    if word in ("der", "des") and not noun:  # der zweite Weltkrieg, but: Anfang der zwanziger
        return said
    return said + ("n" if word in DATIVE else "r" if word in ("ein", "kein") or not word and noun == "month" else "")


def _date(m: re.Match[str]) -> str:
    """`am 3.4.1920`, `3. April 1920`: the year stays to be read as one."""
    day, month, before = int(m["day"]), m["month"], m["before"]
    if month.isdigit() and not (1 <= int(month) <= 12 and 1 <= day <= 31):
        return m[0].replace(".", " Punkt ")
    named = _ordinal(month, before, "month") if month.isdigit() else SHORT.get(month, month)
    return f"{before or ''}{_ordinal(m['day'], before, 'month')} {named} "


def _time(m: re.Match[str]) -> str:
    hour = DE.one if int(m[1]) == 1 else DE.cardinal(int(m[1]))
    minute = f" {DE.cardinal(int(m[2]))}" if int(m[2]) else ""
    return f"{hour} Uhr{minute}" + (f" und {DE.cardinal(int(m[3]))} Sekunden" if m[3] else "")


DE = Language(
    **tables("de"),
    years=range(1100, 2000),
    starts=STARTS,
    rules=(
        (rf"{DAY}(?P<month>\d{{1,2}})\.\s?(?=\d{{4}}(?!\d)|\d\d(?!\d)|(?!\d))", _date),
        (rf"{DAY}(?P<month>{MONTH})(?!\w)", _date),
        (r"(?<![\w:.])([01]?\d|2[0-4])[:.]([0-5]\d)(?:[:.]([0-5]\d))?\s?Uhr\b", _time),
        (r"(?<![\w:])([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?![\w:])", _time),
        (
            rf"{BEFORE}(?<![\w.,])(?P<n>\d{{1,3}})\.\s(?!(?:{STARTS})\b)(?=[A-ZÄÖÜ][A-Za-zäöü])",
            lambda m: f"{m['before'] or ''}{_ordinal(m['n'], m['before'])} ",
        ),
        (r"(?<![\w.,])1\s(?=[A-ZÄÖÜ][a-zäöü]|Uhr\b)", "ein "),
        (r"#\s?(?=\d)", "Nummer "),
        (r"(?<=[a-zß])str\.(?=\s|$)", "straße"),
    ),
)
