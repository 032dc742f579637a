"""Text to the phonemes that a voice was trained on: what all kinds have in common, and how a voice keeps its own."""

import json
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from speech.errors import DataError, SpeechError
from speech.text.files import read_file, read_json, read_lines, told_of
from speech.text.phoneme_table import BLANK, given
from speech.text.phoneme_table import BOUNDARY as BOUNDARY
from speech.text.spe import in_words
from speech.text.spoken import LITERAL, Spoken, require_words, shown, spoken

FILE = "phonemizer.json"
MARKS = (",", ".", "?", "!", ";", ":", "-")
FOREIGN_MARKS = str.maketrans({**dict(zip("，、。．？！；：", ",,..?!;:", strict=True)), **dict.fromkeys("–—―", " - ")})
# a literal; a mark, where a hyphen inside a word is none
PARTS = re.compile(rf"({LITERAL.pattern}|[,.?!;:]|(?<![^\W_])-|-(?![^\W_]))")
LANGUAGE = re.compile(r"[a-z]{2,4}([-_][A-Za-z0-9]{1,8}){0,4}")
HAN = "\u3400-\u9fff"


class Phonemizer(ABC):
    """Text to tokens: phonemes, `MARKS` after a word, " " between words. `words` have phonemes that win over all else.

    `spoken` first, once, at preparation and at use; then the call. In every kind `[[h ə l oʊ]]` is taken literally.
    """

    kind: ClassVar[str]

    def __init__(self, language: str, words: Mapping[str, str] | None = None):
        self.language, self.words = language, dict(words or {})
        self._pattern = _word_pattern(self.words)

    def spoken(self, text: str) -> Spoken:
        """The text in words, those of the user's lexicon as literals."""
        return spoken(self._with_words(text), self.language)

    def __call__(self, text: str) -> list[str]:
        """SpeechError for a text without a phoneme and for characters that have none."""
        require_words(text)
        text = unicodedata.normalize("NFC", self._with_words(text)).translate(FOREIGN_MARKS)
        tokens: list[str] = []
        for i, part in enumerate(PARTS.split(text)):
            if i % 2 == 0:
                tokens += self._plain(part)
            else:
                tokens += given(part[2:-2]) if part.startswith("[[") else [part]
        tokens = _tidy(tokens)
        if not any(token not in MARKS and token != BLANK for token in tokens):
            raise SpeechError(f"no phoneme in '{shown(text)}'; give words to say")
        return tokens

    def settings(self) -> dict[str, Any]:
        """What `load_phonemizer` makes an equal one of."""
        return {"kind": self.kind, "language": self.language, "words": self.words}

    @abstractmethod
    def _phrase(self, text: str) -> list[str]:
        """Tokens of words between two marks, " " between words."""

    def _plain(self, text: str) -> list[str]:
        words = self._phrase(text.strip()) if text.strip() else []
        return [BLANK] * text[:1].isspace() + words + [BLANK] * text[-1:].isspace()

    def _with_words(self, text: str) -> str:
        parts = re.split(f"({LITERAL.pattern})", text)
        return "".join(part if i % 2 else self._pattern.sub(self._word, part) for i, part in enumerate(parts))

    def _word(self, m: re.Match[str]) -> str:
        phonemes = self.words.get(m[0]) or self.words.get(m[0].lower())
        return f"[[{phonemes}]]" if phonemes else m[0]


class GivenPhonemes(Phonemizer):
    """The text is phonemes already, divided by blanks; `|` is the boundary between words."""

    kind = "phonemes"

    def spoken(self, text: str) -> Spoken:
        return Spoken(text, [])

    def __call__(self, text: str) -> list[str]:
        require_words(text)
        return given(text)

    def _phrase(self, text: str) -> list[str]:
        return given(text)


def without_sound(characters: str, what: str) -> SpeechError:
    """About the first of them."""
    return SpeechError(f"{in_words(characters[0])} has no phoneme in {what}; write it in words or as [[phonemes]]")


def read_words(path: str | Path) -> dict[str, str]:
    """A lexicon, `word<TAB>phonemes` a line, phonemes divided by blanks. A lower-case word stands for every case."""
    words: dict[str, str] = {}
    with told_of(f"lexicon {path}", DataError):
        for i, line in enumerate(read_lines(read_file(Path(path))), 1):
            word, _, phonemes = (part.strip() for part in unicodedata.normalize("NFC", line).partition("\t"))
            if not line.strip():
                continue
            if not (word and phonemes) or re.search(r"[\t\[\]]", phonemes):
                raise SpeechError(f"line {i}: {line[:60]!r} is not a word, a tab and its phonemes")
            if word in words:
                raise SpeechError(f"line {i}: '{word[:60]}' stands there twice")
            words[word] = phonemes
    return words


def load_phonemizer(settings: Mapping[str, Any]) -> Phonemizer:
    """From settings, of which only kind and language are needed. Nothing in them is trusted."""
    from speech.text.espeak import EspeakPhonemizer  # they build on this file
    from speech.text.lexicon import LexiconPhonemizer
    from speech.text.pinyin import PinyinPhonemizer

    kinds = {kind.kind: kind for kind in (LexiconPhonemizer, EspeakPhonemizer, PinyinPhonemizer, GivenPhonemes)}
    settings = dict(settings)
    kind, language, words = settings.pop("kind", None), settings.pop("language", None), settings.pop("words", {})
    if not isinstance(kind, str) or kind not in kinds:
        raise SpeechError(f"phonemizer kind {str(kind)[:40]!r} is not one of {', '.join(kinds)}")
    if not isinstance(language, str) or not LANGUAGE.fullmatch(language):
        raise SpeechError(f"phonemizer language {str(language)[:40]!r} is not a code such as en or en-us")
    phonemes = words.values() if isinstance(words, dict) else [None]
    if not all(isinstance(p, str) and p.strip() and not re.search(r"[\[\]]", p) for p in phonemes):
        raise SpeechError("phonemizer words are not a table of words and their phonemes")
    if unknown := sorted(set(settings) - ({"dictionary"} if kind == LexiconPhonemizer.kind else set())):
        raise SpeechError(f"phonemizer {unknown[0][:40]!r} is no setting of the kind {kind}")
    return kinds[kind](language, words, **settings)


def save_phonemizers(folder: str | Path, phonemizers: Sequence[Phonemizer]) -> None:
    """Write phonemizer.json: the settings of one, or a list where there are several."""
    several = [phonemizer.settings() for phonemizer in phonemizers]
    settings = json.dumps(several if len(several) > 1 else several[0], indent=1, ensure_ascii=False)
    (Path(folder) / FILE).write_text(settings + "\n", encoding="utf-8")


def load_phonemizers(folder: str | Path) -> list[Phonemizer]:
    """At least one, the default first."""
    found = read_json(Path(folder), FILE)
    several = found if isinstance(found, list) else [found]
    if not several or not all(isinstance(settings, dict) for settings in several):
        raise SpeechError(f"{Path(folder) / FILE}: not a JSON object or a list of them")
    return [load_phonemizer(settings) for settings in several]


def _word_pattern(words: Iterable[str]) -> re.Pattern[str]:
    """Whole words of a lexicon, longest first; Chinese ones also inside a run of characters."""

    def whole(word: str) -> str:
        before = "" if re.match(f"[{HAN}]", word) else rf"(?<![^\W{HAN}])(?<!')"
        return before + re.escape(word) + ("" if re.match(f"[{HAN}]", word[-1]) else rf"(?!'?[^\W{HAN}])")

    longest = sorted(filter(None, words), key=len, reverse=True)
    return re.compile("|".join(map(whole, longest)) or "(?!)", re.IGNORECASE)


def _tidy(tokens: list[str]) -> list[str]:
    """Single blanks: none before a mark or at the ends, one after a mark; the same mark once."""
    out: list[str] = []
    for token in tokens:
        last = out[-1] if out else BLANK
        if token in MARKS:
            if last == BLANK and out:
                out.pop()
            if out and out[-1] == token:
                continue
        elif token == BLANK and last == BLANK:
            continue
        elif token != BLANK and last in MARKS:
            out.append(BLANK)
        out.append(token)
    return out[:-1] if out[-1:] == [BLANK] else out
