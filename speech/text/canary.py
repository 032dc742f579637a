"""The tokenizers of Canary (arXiv 2503.05931): a vocabulary for every language, or one for all."""

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from speech.errors import DataError, SpeechError
from speech.text.base import BOS, FILE, PAD, SETTINGS, UNK, BaseTokenizer
from speech.text.files import read_part
from speech.text.spe import BLANK_MARK, open_spe, outside, pieces_of

SPECIALS, CONTEXT = "spl_tokens", "<|startofcontext|>"
REGIONS = {"en": "en-US", "es": "es-ES", "fr": "fr-FR", "de": "de-DE"}
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")  # it becomes part of a file name
LANGUAGE = re.compile(r"<\|(?!pnc\||itn\|)([a-z]{2,3}(?:-[A-Z]{2})?)\|>")
TIME = re.compile(r"(<\|[0-9]+\|>)")


class _CanaryTokenizer(BaseTokenizer):
    """Marks of time such as `<|12|>`, counted in frames of 80 ms, may stand before and after the words of a text."""

    def _encode(self, text: str, language: str | None) -> list[int]:
        parts = TIME.split(text)
        if len(parts) == 1:
            return self._words(text, language)
        ids: list[int] = []
        for part in parts:
            if not TIME.fullmatch(part):
                ids += (i for word in part.split() for i in self._words(word, language))
            elif part in self._specials:
                ids.append(self._specials[part])
            else:
                raise DataError(f"the tokenizer has no mark of time {part[:40]}")
        return ids

    @abstractmethod
    def _words(self, text: str, language: str | None) -> list[int]: ...


class AggregateTokenizer(_CanaryTokenizer):
    """SentencePiece models by language, their ids one after the other; `spl_tokens` has the special symbols."""

    kind = "aggregate"

    def __init__(self, models: Mapping[str, bytes]):
        if wrong := [name for name in models if not NAME.fullmatch(name)]:
            raise SpeechError(f"sub-tokenizer {wrong[0][:40]!r}: a name has letters, digits, - and _ only")
        if SPECIALS not in models:
            raise SpeechError(f"the sub-tokenizers {', '.join(models)} lack '{SPECIALS}', that of the special symbols")
        self._models, self._spes, self.offsets = dict(models), {}, {}
        pieces: list[str] = []
        specials: dict[str, int] = {}
        silent: list[int] = []
        for name, model in models.items():
            sp = self._spes[name] = open_spe(model, f"sub-tokenizer '{name}'")
            first = self.offsets[name] = len(pieces)
            pieces += pieces_of(sp)
            ids = range(first, len(pieces))
            if name == SPECIALS:  # no text, its dummy blank included
                silent += ids
                specials = {pieces[i]: i for i in ids if pieces[i] != BLANK_MARK}
            else:
                silent += (i for i in ids if sp.is_control(i - first) or sp.is_unknown(i - first))
        super().__init__(pieces, specials, silent)
        codes = {region: code for code, region in REGIONS.items()}
        names = (c for name in models if name != SPECIALS for c in (name, codes.get(name, "")))
        self.languages = [name for name in names if f"<|{name}|>" in specials]

    @classmethod
    def from_folder(cls, folder: Path, settings: dict[str, Any]) -> "AggregateTokenizer":
        """What `save` wrote; nothing in it is trusted."""
        names = settings.get("models")
        if not isinstance(names, list) or not all(isinstance(n, str) and NAME.fullmatch(n) for n in names):
            raise SpeechError(f"{SETTINGS}: models {str(names)[:60]!r} is not a list of names")
        return cls({name: read_part(folder, f"tokenizer.{name}.model") for name in names})

    def files(self) -> dict[str, bytes]:
        return {f"tokenizer.{name}.model": model for name, model in self._models.items()}

    def settings(self) -> dict[str, Any]:
        return {"models": list(self._models)}

    def _words(self, text: str, language: str | None) -> list[int]:
        name = self._name(language)
        sp, first = self._spes[name], self.offsets[name]
        ids = [first + i for i in sp.encode(text)]
        if first + sp.unk_id() in ids:
            raise outside(sp, text, f" of '{name}'")
        return ids

    def _name(self, language: str | None) -> str:
        """The sub-tokenizer of a language; without one, the only there is."""
        names = [name for name in self._models if name != SPECIALS]
        if language is None and len(names) == 1:
            return names[0]
        for name in (language, REGIONS.get(language or "")):
            if name in names:
                return str(name)
        what = "a text needs its language, one of" if language is None else f"language '{language}' is not one of"
        raise SpeechError(f"{what} {', '.join(names)}")


class UnifiedTokenizer(_CanaryTokenizer):
    """One SentencePiece model for all languages, special symbols included.

    `languages` are those the model has learned; without them, all that have a symbol.
    """

    kind = "unified"

    def __init__(self, model: bytes, languages: Sequence[str] | None = None):
        self._model, self._chosen = model, None if languages is None else list(languages)
        sp = self._sp = open_spe(model, FILE)
        pieces = pieces_of(sp)
        named = {p: i for i, p in enumerate(pieces) if p in (PAD, UNK) or p.startswith("<|") and p.endswith("|>")}
        super().__init__(pieces, named, [i for i in range(len(pieces)) if sp.is_control(i) or sp.is_unknown(i)])
        self.languages = self._chosen or [m[1] for name in named if (m := LANGUAGE.fullmatch(name))]
        for name in self.languages:
            self.special(f"<|{name}|>")
        # its prompts were encoded as text, which SentencePiece begins with a blank
        start = sp.encode(BOS)
        self.prompt_lead = start[:-1] if start[-1:] == [self.bos_id] else []

    @classmethod
    def from_folder(cls, folder: Path, settings: dict[str, Any]) -> "UnifiedTokenizer":
        """What `save` wrote; nothing in it is trusted."""
        names = settings.get("languages")
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise SpeechError(f"{SETTINGS}: languages {str(names)[:60]!r} is not a list of names")
        return cls(read_part(folder, FILE), names)

    def files(self) -> dict[str, bytes]:
        return {FILE: self._model}

    def settings(self) -> dict[str, Any]:
        return {"languages": self._chosen}

    def encode_context(self, text: str, language: str) -> list[int]:
        """Its first word has no blank before it: it follows the symbol that opens the context."""
        opened = [*self.prompt_lead, self.special(CONTEXT)]
        return self._known(self._sp.encode(CONTEXT + text)[len(opened) :], text)

    def _words(self, text: str, language: str | None) -> list[int]:
        return self._known(self._sp.encode(text), text)

    def _known(self, ids: list[int], text: str) -> list[int]:
        """DataError for ids that no text may give."""
        if self._silent.intersection(ids):
            if symbols := [self.pieces[i] for i in ids if i in self._silent and i != self.unk_id]:
                raise DataError(f"the text holds '{symbols[0]}', a special symbol of the tokenizer; take it out")
            raise outside(self._sp, text)
        return ids

    def _text(self, ids: list[int]) -> str:
        return self._sp.decode(ids).strip()
