"""Mandarin to be read aloud: its numbers, which num2words lacks."""

import re

from speech.text.spoken_language import Language

DIGITS, PLACES, GROUPS = "零一二三四五六七八九", ("千", "百", "十", ""), ("万亿", "亿", "万", "")


class _Mandarin(Language):
    def cardinal(self, value: int, to: str = "cardinal") -> str:
        """To 16 digits; a year is read digit by digit."""
        if value < 0:
            return "负" + self.cardinal(-value)
        if to == "year":
            return "".join(DIGITS[int(digit)] for digit in str(value))
        groups = re.findall("....", f"{value:016d}")
        said = "".join(
            _below_10000(group) + name if int(group) else "零" for group, name in zip(groups, GROUPS, strict=True)
        )
        said = re.sub("零+", "零", said).strip("零") or DIGITS[0]
        return said[1:] if said.startswith("一十") else said


def _below_10000(group: str) -> str:
    said = "".join("零" if d == "0" else DIGITS[int(d)] + place for d, place in zip(group, PLACES, strict=True))
    return said.rstrip("零")


ZH = _Mandarin(
    code="zh",
    thousands=",",
    decimal=".",
    point="点",
    to="到",
    rules=(
        (r"(\d+(?:\.\d+)?)\s?[%％]", lambda m: f"百分之{ZH.number(m[1])}"),
        (r"(?<!\d)(\d{4})(?=年)", lambda m: ZH.cardinal(int(m[1]), "year")),
    ),
)
