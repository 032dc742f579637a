"""English to be read aloud."""

import re

from speech.text.spoken_language import Language, counted, stop, table

MONTHS = "January February March April May June July August September October November December".split()
MONTH = rf"(?P<month>{'|'.join(MONTHS)}|(?:{'|'.join(m[:3] for m in MONTHS)}|Sept)\.)"
HALF = r"\s?([aApP])(?:\.[mM]\.|[mM]\b)"
FRACTIONS = {2: ("half", "halves"), 4: ("quarter", "quarters")}

# where `a` is no article: no word follows, another lone letter stands beside it, or it is a capital inside a sentence
NO_WORD = r"\s*(?:[,;:?!/\\)]|\.(?!\w)|-\s|$)"
LETTER_A = re.compile(
    rf"(?<![\w'.-])(?:a(?=\s[b-z]\b(?!')|{NO_WORD})|(?<=(?<![\w'])[b-z]\s)a|(?<=[\w,]\s)A|A(?=\s[B-Z]\b(?!')|{NO_WORD}))(?![\w'-])"
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
    code="en",
    thousands=",",
    decimal=".",
    point="point",
    to="to",
    years=range(1100, 2100),
    money=counted("$ dollar, € euro, £ pound, ¥ yen yen, USD US~dollar, EUR euro, GBP pound", "s"),
    scales=table(
        "hundred hundred, thousand thousand, million million, billion billion, trillion trillion, "
        "k thousand, K thousand, m million, M million, bn billion, B billion"
    ),
    cents=("cent", "cents"),
    with_cents="{whole} and {cents} {name}",
    units=counted(
        "% percent percent, °C degree~Celsius degrees~Celsius, °F degree~Fahrenheit degrees~Fahrenheit, ° degree, "
        "km kilometer, m meter, cm centimeter, mm millimeter, km² square~kilometer, m² square~meter, m³ cubic~meter, "
        "km/h kilometer~per~hour kilometers~per~hour, mph mile~per~hour miles~per~hour, ft foot feet, yd yard, "
        "mi mile, kg kilogram, g gram, mg milligram, lb pound, lbs pound, oz ounce, l liter, ml milliliter, "
        "h hour, hr hour, hrs hour, min minute, s second, ms millisecond, "
        "V volt, W watt, kW kilowatt, kWh kilowatt~hour, "
        "Hz hertz hertz, kHz kilohertz kilohertz, MHz megahertz megahertz, GHz gigahertz gigahertz, "
        "kB kilobyte, KB kilobyte, MB megabyte, GB gigabyte, TB terabyte",
        "s",
    ),
    abbreviations=table(
        "Dr. Doctor, Mr. Mister, Mrs. Missus, Ms. Miz, "
        "dr Doctor, mr Mister, mrs Missus, Dr Doctor, Mr Mister, Mrs Missus, Ms Miz, vs versus, "
        "Prof. Professor, St. Saint, Mt. Mount, Ft. Fort, Gen. General, "
        "Col. Colonel, Capt. Captain, Lt. Lieutenant, Sgt. Sergeant, Rev. Reverend, Sen. Senator, Gov. Governor, "
        "vs. versus, e.g. for example, i.e. that is, cf. compare, approx. approximately, Fig. Figure, "
        + ", ".join(f"{name[:3]}. {name}" for name in MONTHS if name != "May")
        + ", Sept. September"
    ),
    endings=table(
        "etc. et cetera, Inc. Incorporated, Ltd. Limited, Corp. Corporation, Co. Company, Jr. Junior, Sr. Senior, "
        "Ave. Avenue, Blvd. Boulevard, Rd. Road, a.m. eh em, p.m. pee em, et~al. et al"
    ),
    symbols=table(
        "& and, @ at, % percent, + plus, = equals, / slash, # hash, _ underscore, \\ backslash, < less than, "
        "> greater than, ° degrees, § section, × times, ÷ divided by, ± plus or minus, € euro, $ dollar, £ pound, "
        "¥ yen, © copyright, ® registered, ™ trademark, ² squared, ³ cubed, ½ one half, ¼ one quarter, "
        "¾ three quarters, : colon, . dot, - dash, ? question mark"
    ),
    letters=dict(
        zip(
            "abcdefghijklmnopqrstuvwxyz",
            "eh bee see dee ee ef gee aitch eye jay kay ell em en oh pee cue ar ess tee you vee double-you ex why "
            "zee".split(),
            strict=True,
        )
    ),
    words=frozenset(
        "a A i I the and not all you are but for new out now end off yes one two was his her our how why who its it is "
        "in on at to of no so we he she me my by or if as be do go up hmm mm shh psst brr nth".split()
    ),
    rules=(
        (re.compile(r"(?<![\w/])(\d{1,2})/(\d{1,2})/(\d{4}|\d{2})(?![\w/])"), _slashed),
        (re.compile(r"(?<![\w-])(\d{4})-(\d\d)-(\d\d)(?![\w-])"), _iso),
        (re.compile(rf"(?<!\w){MONTH}\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?![\w:]|\.\d)"), _named),
        (re.compile(rf"(?:\bthe\s+|(?<![\w.,]))(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?{MONTH}(?!\w)"), _named),
        (
            re.compile(rf"(?<![\w:])([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?![\d:])(?:{HALF})?"),
            _time,
        ),
        (re.compile(rf"(?<![\w:.])(1[0-2]|[1-9])()(){HALF}"), _time),
        (re.compile(r"(?<![\w.,])'?(\d{1,3}0)s\b"), _decade),
        (re.compile(r"(?<![\w.,])(\d[\d,]*)(?:st|nd|rd|th)\b"), _ordinal),
        (re.compile(r"(?<![\w/.,])(\d{1,2})/(\d{1,2})(?![\w/])"), _fraction),
        (re.compile(r"(?<=\d)½"), lambda m: " and a half"),
        (re.compile(r"(?<=\d)(?=[¼¾])"), lambda m: " and "),
        (re.compile(r"(?:\bNos?\.|#)\s?(?=\d)"), lambda m: "number "),
        (re.compile(r"~\s?(?=\d)"), lambda m: "about "),
        (re.compile(r"(?<=[a-z]\s)(St|Dr)\.(?!\s+[A-Z])"), lambda m: {"St": "Street", "Dr": "Drive"}[m[1]]),
        (re.compile(r"\bSt(?=\s[A-Z])"), lambda m: "Saint"),
        (LETTER_A, lambda m: EN.letters["a"]),
    ),
)
