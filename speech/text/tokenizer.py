"""Text to ids and back: SentencePiece with one layout of special symbols for every model."""

import hashlib
import io
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import sentencepiece

from speech.errors import DataError, SpeechError
from speech.text.base import BOS, EOS, FILE, PAD, UNK, BaseTokenizer
from speech.text.files import read_file, read_part, told_of
from speech.text.spe import BLANK_MARK, open_spe, outside, pieces_of

CONTROLS = ("<|nospeech|>", "<|transcribe|>", "<|translate|>", "<|pnc|>", "<|nopnc|>")


class Tokenizer(BaseTokenizer):
    """Ids: 0 pad and CTC blank, 1 unk, 2 end, 3 start, the task symbols, one `<|xx|>` per language, then pieces.

    No text can produce a special symbol. decode(encode(x)) == x for a text with single inner blanks.
    """

    kind = "sentencepiece"
    blank_id: int

    def __init__(self, model: bytes):
        self.model = model
        self._sp = open_spe(model, FILE)
        pieces = pieces_of(self._sp)
        layout = [PAD, UNK, EOS, BOS, *CONTROLS]
        if pieces[: len(layout)] != layout:
            raise SpeechError(f"tokenizer begins with {pieces[:4]}, not with {layout[:4]}: it was not trained here")
        specials = [i for i in range(len(pieces)) if self._sp.is_control(i) or self._sp.is_unknown(i)]
        super().__init__(pieces, {pieces[i]: i for i in specials})
        self.blank_id = self.pad_id
        self.languages = [name[2:-2] for name in self._specials if name not in layout]

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """SpeechError for a file that is missing, broken or of another layout."""
        with told_of(f"tokenizer {path}"):
            return cls(read_file(Path(path)))

    @classmethod
    def from_folder(cls, folder: Path, settings: dict[str, Any]) -> "Tokenizer":
        return cls(read_part(folder, FILE))

    def files(self) -> dict[str, bytes]:
        return {FILE: self.model}

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        path: str | Path,
        vocab_size: int,
        kind: Literal["bpe", "char"] = "bpe",
        byte_fallback: bool = True,
        languages: Sequence[str] = ("en",),
    ) -> "Tokenizer":
        """Learn from normalised texts and write `path`; equal texts give equal bytes.

        `vocab_size` is an upper limit that counts specials and the 256 byte pieces; see `size` for what came out.
        """
        lines = [line for text in texts if (line := " ".join(text.split()))]
        if not lines:
            raise DataError("no text to train a tokenizer on: every transcript is empty")
        controls = [*CONTROLS, *(f"<|{language}|>" for language in dict.fromkeys(languages))]
        characters = {character for line in lines for character in line if character != " "} | {BLANK_MARK}
        needed = 4 + len(controls) + 256 * byte_fallback + len(characters)
        if vocab_size < needed:
            hint = " or set byte_fallback to false" if byte_fallback else ""
            raise SpeechError(f"vocab_size {vocab_size} is below {needed}, what the characters need: raise it{hint}")
        longest = max(len(line.encode()) for line in lines)
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type=kind,
            vocab_size=vocab_size,
            hard_vocab_limit=False,
            byte_fallback=byte_fallback,
            character_coverage=1.0,
            normalization_rule_name="identity",  # speech.text.normalize is the one place that changes a text
            max_sentence_length=longest + 10,  # longer ones would be left out silently
            num_threads=1,
            minloglevel=3,
            control_symbols=controls,
            pad_id=0,
            pad_piece=PAD,
            unk_id=1,
            unk_piece=UNK,
            eos_id=2,
            eos_piece=EOS,
            bos_id=3,
            bos_piece=BOS,
        )
        tokenizer = cls(model.getvalue())
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(model.getvalue())
        return tokenizer

    @cached_property
    def fingerprint(self) -> str:
        """That of the file, by which bins and runs know it."""
        return hashlib.sha256(self.model).hexdigest()

    def _encode(self, text: str, language: str | None) -> list[int]:
        """`<unk>` is never returned; the languages have one vocabulary."""
        ids: list[int] = self._sp.encode(text)
        if self.unk_id in ids or BLANK_MARK in text:
            raise outside(self._sp, text, hint=" or train with byte_fallback")
        return ids

    def _text(self, ids: list[int]) -> str:
        return self._sp.decode(ids)
