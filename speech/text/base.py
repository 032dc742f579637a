"""What every tokenizer answers, whatever its files: text to ids and back, special symbols, its place in a folder."""

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from speech.errors import DataError, SpeechError
from speech.text.spe import BLANK_MARK

PAD, UNK, EOS, BOS = "<pad>", "<unk>", "<|endoftext|>", "<|startoftranscript|>"
FILE = "tokenizer.model"
SETTINGS = "tokenizer.json"  # the kind of a folder's tokenizer, and how to read its files
TIME_STEP_SECONDS = 0.08
SHOWN = 40  # symbols that an error lists: Canary has more than a thousand


class BaseTokenizer(ABC):
    """Ids are places in `pieces`. Those of special symbols are no text; no text gives them, but for `<unk>` and times.

    `languages` are those a text and a prompt may have; `blank_id` is None where there is no CTC blank;
    `prompt_lead` are ids that stand before every prompt.
    """

    kind: ClassVar[str]
    languages: list[str]
    blank_id: int | None = None
    prompt_lead: list[int]

    def __init__(
        self, pieces: list[str], specials: Mapping[str, int], silent: Iterable[int] = (), eos: str = EOS, bos: str = BOS
    ):
        """`silent` are ids without a text that have no name either."""
        self.pieces, self._specials, self.prompt_lead = pieces, dict(specials), []
        self._silent = {*silent, *self._specials.values()}
        self.pad_id, self.unk_id, self.eos_id, self.bos_id = (self.special(name) for name in (PAD, UNK, eos, bos))

    @property
    def size(self) -> int:
        return len(self.pieces)

    def special(self, name: str) -> int:
        """Id of a special symbol such as `<|pnc|>`, looked up whole."""
        if name not in self._specials:
            names = list(self._specials)
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            raise SpeechError(f"no special symbol '{name}' in the tokenizer, it has {' '.join(names[:SHOWN])}{more}")
        return self._specials[name]

    @cached_property
    def times(self) -> dict[int, float]:
        """Ids of marks of time, `<|12|>`, and their seconds: Canary counts steps of 0.08 s."""
        marks = ((i, re.fullmatch(r"<\|(\d+)\|>", name)) for name, i in self._specials.items())
        return {i: int(mark[1]) * TIME_STEP_SECONDS for i, mark in marks if mark}

    @property
    def special_ids(self) -> list[int]:
        """Ids that are no text: pad, unk, end, start, tasks, languages, times."""
        return sorted(self._silent)

    def encode(self, text: str, language: str | None = None) -> list[int]:
        """Ids of a text, of this language where the kind has several vocabularies.

        DataError names characters that have no id; FireRed's kind gives `<unk>` for them.
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"text has half a character, U+{ord(text[error.start]):04X}") from None
        return self._encode(text, language)

    def encode_context(self, text: str, language: str) -> list[int]:
        """Ids of what was said before, as they stand in a prompt."""
        return self.encode(text, language)

    def decode(self, ids: Iterable[int]) -> str:
        """Text without the special symbols. SpeechError for an id that is none, as those of a padded vocabulary."""
        ids = [int(i) for i in ids]
        if outside := [i for i in ids if not 0 <= i < self.size]:
            raise SpeechError(
                f"token {outside[0]} is outside the {self.size} of the tokenizer; mask padded ids in the search"
            )
        return self._text([i for i in ids if i not in self._silent])

    @abstractmethod
    def _encode(self, text: str, language: str | None) -> list[int]: ...

    def _text(self, ids: list[int]) -> str:
        return "".join(self.pieces[i] for i in ids).replace(BLANK_MARK, " ").strip()

    @abstractmethod
    def files(self) -> dict[str, bytes]:
        """Names and contents of its files."""

    def settings(self) -> dict[str, Any]:
        """What tokenizer.json says beside the kind."""
        return {}

    @cached_property
    def fingerprint(self) -> str:
        """Equal for tokenizers that are saved equal."""
        files = {name: hashlib.sha256(data).hexdigest() for name, data in self.files().items()}
        return hashlib.sha256(json.dumps([self.kind, self.settings(), files]).encode()).hexdigest()

    def save(self, folder: str | Path) -> None:
        """Write its files, tokenizer.json and tokens.txt for `load_tokenizer`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in self.files().items():
            (folder / name).write_bytes(data)
        settings = json.dumps({"kind": self.kind, **self.settings()}, indent=1, ensure_ascii=False)
        (folder / SETTINGS).write_text(settings + "\n", encoding="utf-8")
        self.save_tokens(folder / "tokens.txt")

    def save_tokens(self, path: str | Path) -> None:
        """Write one `token id` line per piece."""
        Path(path).write_text("".join(self.token_lines()), encoding="utf-8")

    def token_lines(self) -> list[str]:
        return [f"{'<space>' if piece == ' ' else piece} {i}\n" for i, piece in enumerate(self.pieces)]
