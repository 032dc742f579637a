"""What the languages have in common when they are read aloud: rules that turn signs into words, in their order."""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from speech.text.spoken_language import Language, Said, stop

MARKS = ",.?!;:"
LETTER = r"[^\W\d_]"
ROMAN = {"II": 2, "III": 3, "IV": 4, "VI": 6, "VII": 7, "VIII": 8, "IX": 9, "XI": 11, "XII": 12, "XIII": 13, "XIV": 14}
TELEPHONE = r"\+\d[\d\s()/-]{5,}\d|\(\d{3}\)\s?\d{3}-\d{4}|(?<![\w-])\d{3}-\d{4}(?![\w-])|(?<!\d)\d+(?:-\d+){2,}"


@lru_cache(64)
def rules_of(lang: Language) -> list[tuple[re.Pattern[str], Said]]:
    """In the order in which they are applied."""
    n = lang.amount
    rules: list[tuple[re.Pattern[str], Said]] = []

    def rule(pattern: str, say: Said) -> None:
        rules.append((re.compile(pattern), say))

    if lang.symbols:
        rule(r"(?<![\w.+-])(?:(?:https?://|www\.)\S+|[\w.+-]+@[\w-]+\.[\w.-]+)", lambda m: _address(m[0], lang))
    if lang.decimal == ",":  # 1 234 567
        rule(r"(?<![\d.,])\d{1,3}(?: \d{3})+(?!\d)", lambda m: m[0].replace(" ", ""))
    else:
        rule(r"(?<![\w.])\.(\d+)", lambda m: f"{lang.point} {lang.digits(m[1])}")
    for pattern, say in lang.rules:
        rule(pattern, say)
    if lang.money:
        signs, scales = _any(lang.money), _any(lang.scales)
        rule(rf"({signs})\s?({n})(?:\s?({scales})(?!\w))?", lambda m: _money(lang, m[1], m[2], m[3]))
        rule(rf"({n})(?:\s?({scales}))?\s?({signs})(?!\w)", lambda m: _money(lang, m[3], m[1], m[2]))
    rule(TELEPHONE, lambda m: m[0][: m[0][0] == "+"] + ", ".join(map(lang.digits, re.findall(r"\d+", m[0]))))
    rule(rf"(?<![\w-])({n})(?:-|\s?–\s?)(?=\d+(?![\d-]))", lambda m: f"{m[1]} {lang.to} ")
    if lang.units:
        rule(rf"({n})\s?({_any(lang.units)})(?![\w/])", lambda m: lang.count(m[1], lang.units[m[2]]))
        short = {**lang.abbreviations, **lang.endings}
        short |= {key[0].upper() + key[1:]: value for key, value in short.items()}
        keys = _any(short).replace(r"\ ", r"\s?")  # `z. B.` with or without its blank
        short = {key.replace(" ", ""): value for key, value in short.items()}
        rule(rf"(?<!\w)(?:{keys})(?!\w)", lambda m: f"{short[''.join(m[0].split())]}{stop(m)} ")
        dotted = rf"(?<![\w.])(?:(?:{LETTER}\.){{2,}}|(?:{LETTER}\.)+{LETTER}(?!\w))"
        rule(dotted, lambda m: f"{lang.spell(m[0].replace('.', ''))}{stop(m)} ")
        rule(r"(?<![\w.'])([A-HJ-Z])\.(?=\s+[A-Z])", lambda m: lang.spell(m[1]))
        rule(rf"(?<=[a-z]\s)({'|'.join(ROMAN)})\b", lambda m: lang.cardinal(ROMAN[m[1]]))
    rule(r"(?<![\w)])-(?=\d)", lambda m: f"{lang.minus} ")
    version = rf"(?<!\d)(?!{n}(?![\d.]))\d+(?:\.\d+){{2,}}"
    rule(version, lambda m: f" {f' {lang.point} '.join(lang.number(part) for part in m[0].split('.'))} ")
    if lang.letters:
        rule(r"(?<![^\W_])(?=[^\W_]*\d)(?=[^\W_]*[a-zA-Z])[^\W_]+", lambda m: _code(m[0], lang))
        rule(r"(?<=[a-z]{3})(?=[A-Z][a-z]{2})|(?<=[A-Z])(?=[A-Z][a-z]{2})", " ")  # ContentFilter, QMPers
    rule(n, lambda m: f" {_number(m[0], lang)} ")
    if lang.symbols:
        rule(r"(?:(?<=[^\W_])|(?<!\S))\.(?=[^\W_])|:(?=[\\/])", lambda m: f" {lang.symbols[m[0]]} ")
        rule(f"[{re.escape(''.join(set(lang.symbols) - set(MARKS) - set('-~')))}]", lambda m: f" {lang.symbols[m[0]]} ")
    rule(r"(?<=\w)\s+[(\[{]\s*(?=\w)", ", ")
    rule(r"[)\]}](?=\s+[\w-])", ",")
    rule(r"–+|--+|(?<![^\W_])-|-(?![^\W_])", " - ")
    rule(r"\s-\s(?:\s*-\s)*", " - ")
    if lang.letters:
        rule(rf"({LETTER}+)((?:'{LETTER}+)*)", lambda m: (_word(m[1], lang) if m[2] in ("", "'s") else m[1]) + m[2])
    return rules


def _any(keys: Iterable[str]) -> str:
    return "|".join(re.escape(key) for key in sorted(keys, key=len, reverse=True))


def _address(text: str, lang: Language) -> str:
    """A web or mail address, sign by sign."""
    address = text.rstrip(".,;:!?)")
    return "".join(f" {lang.symbols[c]} " if c in lang.symbols else c for c in address) + text[len(address) :]


def _money(lang: Language, sign: str, amount: str, scale: str | None) -> str:
    whole, _, cents = amount.partition(lang.decimal)
    if scale:
        return f"{lang.number(amount)} {lang.scales[scale]} {lang.money[sign][1]}"
    if len(cents) != 2:
        return lang.count(amount, lang.money[sign])
    if cents == "00":
        return lang.count(whole, lang.money[sign])
    if whole == "0":
        return lang.count(cents.lstrip("0"), lang.cents)
    said, name = lang.cardinal(int(cents)), lang.cents[cents != "01"]
    return lang.with_cents.format(whole=lang.count(whole, lang.money[sign]), cents=said, name=name)


def _number(text: str, lang: Language) -> str:
    return lang.year(int(text)) if len(text) == 4 and text.isdigit() and int(text) in lang.years else lang.number(text)


def _code(text: str, lang: Language) -> str:
    """MS03, ole32, 0x8007: short numbers are numbers, others come digit by digit."""
    if re.fullmatch(r"0x[0-9a-fA-F]+|(?=.*[a-f])[0-9a-f]{4,}", text):
        return lang.spell(text)
    runs = re.findall(rf"\d+|{LETTER}+", text)
    said = {r: lang.number(r) if r.isdecimal() and len(r) < 3 else lang.spell(r) for r in runs}
    return " ".join(r if len(r) > 1 and r.isalpha() else said[r] for r in runs)


def _word(word: str, lang: Language) -> str:
    """A word stays; letters, acronyms and words without a vowel are spelt."""
    if len(word) == 1:
        return word if word in lang.words else lang.spell(word)
    if word.lower() in lang.words:
        return word.lower() if word.isupper() else word
    stem = word[:-1] if len(word) > 2 and word[-1] == "s" and word[:-1].isupper() else word
    vowels = any(c in "aeiouy" for c in unicodedata.normalize("NFD", stem.lower()))
    if not vowels or stem.isupper() and len(stem) < 4:
        return lang.spell(stem) + word[len(stem) :]
    return word.capitalize() if word.isupper() else word
