"""German to be read aloud."""

import re

from speech.text.spoken_language import Language, counted, table

MONTHS = "Januar Februar März April Mai Juni Juli August September Oktober November Dezember".split()
SHORT = {"Jan.": "Januar", "Feb.": "Februar", "Aug.": "August", "Sept.": "September"}
SHORT |= {"Okt.": "Oktober", "Nov.": "November", "Dez.": "Dezember"}
MONTH = "|".join([*MONTHS, *map(re.escape, SHORT)])
BEFORE = r"(?:\b(?P<before>[A-Za-zäöü]+)\s+)?"
DAY = rf"{BEFORE}(?<![\w.,])(?P<day>\d{{1,2}})\.\s?"
DATIVE = "am im vom zum zur dem den des der bis seit beim einem einer ab nach diesem jedem".split()
# a number and a full stop before one of these end a sentence
STARTS = "Der|Die|Das|Er|Sie|Es|Wir|Ich|Ihr|Du|Ein|Eine|Und|Aber|Dann|In|Im|Am|Auf|Mit|Nach|So|Wie|Was|Wer|Wo|Da|Nr|Dr"


def _ordinal(number: str, before: str | None, noun: str = "") -> str:
    """With the ending that the word before asks for."""
    said = DE.cardinal(int(number), "ordinal")
    word = (before or "").lower()
    if word in ("der", "des") and not noun:  # der zweite Weltkrieg, but: Anfang der zwanziger
        return said
    return said + ("n" if word in DATIVE else "r" if word in ("ein", "kein") or not word and noun == "month" else "")


def _date(m: re.Match[str]) -> str:
    """`am 3.4.1920`, `3. April 1920`: the year stays to be read as one."""
    day, month, before = int(m["day"]), m["month"], m["before"]
    lead = f"{before} " if before else ""
    if month.isdigit() and not (1 <= int(month) <= 12 and 1 <= day <= 31):
        return m[0].replace(".", " Punkt ")
    named = _ordinal(month, before, "month") if month.isdigit() else SHORT.get(month, month)
    return f"{lead}{_ordinal(m['day'], before, 'month')} {named} "


def _time(m: re.Match[str]) -> str:
    hour = DE.one if int(m[1]) == 1 else DE.cardinal(int(m[1]))
    minute = f" {DE.cardinal(int(m[2]))}" if int(m[2]) else ""
    return f"{hour} Uhr{minute}" + (f" und {DE.cardinal(int(m[3]))} Sekunden" if m[3] else "")


DE = Language(
    code="de",
    point="Komma",
    to="bis",
    years=range(1100, 2000),
    one="ein",
    money=counted("€ Euro, $ Dollar, £ Pfund, ¥ Yen, EUR Euro, USD US-Dollar, CHF Schweizer~Franken", ""),
    scales=table(
        "Tsd. tausend, tausend tausend, Mio. Millionen, Millionen Millionen, Million Million, Mrd. Milliarden, "
        "Milliarden Milliarden, Milliarde Milliarde"
    ),
    cents=("Cent", "Cent"),
    with_cents="{whole} {cents}",
    units=counted(
        "% Prozent, °C Grad~Celsius, ° Grad, km Kilometer, m Meter, cm Zentimeter, mm Millimeter, "
        "km² Quadratkilometer, m² Quadratmeter, m³ Kubikmeter, km/h Kilometer~pro~Stunde, "
        "kg Kilogramm, g Gramm, mg Milligramm, l Liter, ml Milliliter, V Volt, W Watt, kW Kilowatt, kWh Kilowattstunde "
        "Kilowattstunden, Hz Hertz, kHz Kilohertz, MHz Megahertz, GHz Gigahertz, kB Kilobyte, KB Kilobyte, "
        "MB Megabyte, GB Gigabyte, TB Terabyte",
        "",
    ),
    abbreviations=table(
        "z.~B. zum Beispiel, d.~h. das heißt, u.~a. unter anderem, o.~ä. oder ähnlich, i.~d.~R. in der Regel, "
        "v.~a. vor allem, Dr. Doktor, Prof. Professor, Hr. Herr, Fr. Frau, St. Sankt, Nr. Nummer, Abb. Abbildung, "
        "ca. circa, evtl. eventuell, ggf. gegebenenfalls, inkl. inklusive, bzw. beziehungsweise, vgl. vergleiche, "
        "max. maximal, min. minimal, Mio. Millionen, Mrd. Milliarden, Tel. Telefon"
    ),
    endings=table(
        "usw. und so weiter, etc. et cetera, u.~s.~w. und so weiter, v.~Chr. vor Christus, n.~Chr. nach Christus, "
        "Str. Straße, Jh. Jahrhundert"
    ),
    symbols=table(
        "& und, @ ät, % Prozent, + plus, = gleich, / Schrägstrich, "
        "# Raute, _ Unterstrich, \\ Rückstrich, < kleiner als, "
        "> größer als, ° Grad, § Paragraf, × mal, ÷ geteilt durch, ± plus minus, € Euro, $ Dollar, £ Pfund, ¥ Yen, "
        "© Copyright, ® eingetragene Marke, ™ Marke, ² Quadrat, ³ hoch drei, ½ einhalb, ¼ ein Viertel, ¾ drei Viertel, "
        ": Doppelpunkt, . Punkt, - Bindestrich, ? Fragezeichen"
    ),
    letters=dict(
        zip(
            "abcdefghijklmnopqrstuvwxyzäöüß",
            "ah beh zeh deh eh eff geh hah ih jott kah ell emm enn oh peh kuh err ess teh uh vau weh iks üpsilon zett "
            "äh öh üh eszett".split(),
            strict=True,
        )
    ),
    words=frozenset(
        "ja so wo da du er es im am in an um zu ist und der die das ein wir ihr sie nur hat hmm pst".split()
    ),
    starts=STARTS,
    rules=(
        (re.compile(rf"{DAY}(?P<month>\d{{1,2}})\.\s?(?=\d{{4}}(?!\d)|\d\d(?!\d)|(?!\d))"), _date),
        (re.compile(rf"{DAY}(?P<month>{MONTH})(?!\w)"), _date),
        (re.compile(r"(?<![\w:.])([01]?\d|2[0-4])[:.]([0-5]\d)(?:[:.]([0-5]\d))?\s?Uhr\b"), _time),
        (re.compile(r"(?<![\w:])([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?![\w:])"), _time),
        (
            re.compile(rf"{BEFORE}(?<![\w.,])(?P<n>\d{{1,3}})\.\s(?!(?:{STARTS})\b)(?=[A-ZÄÖÜ][A-Za-zäöü])"),
            lambda m: f"{m['before'] + ' ' if m['before'] else ''}{_ordinal(m['n'], m['before'])} ",
        ),
        (re.compile(r"(?<![\w.,])1\s(?=[A-ZÄÖÜ][a-zäöü]|Uhr\b)"), lambda m: "ein "),
        (re.compile(r"#\s?(?=\d)"), lambda m: "Nummer "),
        (re.compile(r"(?<=[a-zß])str\.(?=\s|$)"), lambda m: "straße"),
    ),
)
