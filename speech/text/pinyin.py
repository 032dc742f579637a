"""Mandarin as pinyin: initials and finals with their tone."""

import re
from typing import NoReturn

from speech.text.phonemes import BLANK, HAN, Phonemizer, without_sound

TOKEN = re.compile(rf"[{HAN}]+|[A-Za-z]|[\s'-]+|.")


class PinyinPhonemizer(Phonemizer):
    """银行 is `in2 h ang2`; the neutral tone is 5, ü is v. Latin letters are tokens of their own, in capitals."""

    kind = "pinyin"

    def _phrase(self, text: str) -> list[str]:
        from pypinyin import Style, lazy_pinyin  # its dictionaries are large
        from pypinyin.contrib.tone_convert import to_finals_tone3, to_initials

        tokens: list[str] = []
        for part in TOKEN.findall(text):
            if re.match(f"[{HAN}]", part):
                for s in lazy_pinyin(part, Style.TONE3, errors=_refuse, neutral_tone_with_five=True):
                    initial, final = to_initials(s), to_finals_tone3(s, neutral_tone_with_five=True)
                    tokens += [p for p in (initial, final) if p] if final else [s]
            elif part.strip(" '-") == "":
                tokens.append(BLANK)
            elif part.isalpha() and part.isascii():
                tokens.append(part.upper())
            else:
                _refuse(part)
        return tokens


def _refuse(characters: str) -> NoReturn:
    raise without_sound(characters, "pinyin")
