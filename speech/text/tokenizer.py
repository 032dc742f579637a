"""SentencePiece tokenizer with the house's own layout of special ids."""

import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import sentencepiece as spm

from speech.errors import DataError, SpeechError

PAD, UNK, EOS, BOS = "<pad>", "<unk>", "<|endoftext|>", "<|startoftranscript|>"
CONTROLS = ("<|nospeech|>", "<|transcribe|>", "<|translate|>", "<|pnc|>", "<|nopnc|>")


class Tokenizer:
    """Text to ids and back. Id 0 is padding and CTC blank; control symbols can never come from text."""

    def __init__(self, processor: spm.SentencePieceProcessor):
        self._spm = processor
        self.size: int = processor.get_piece_size()
        self.pieces: list[str] = [processor.id_to_piece(i) for i in range(self.size)]
        self.specials = {p: i for i, p in enumerate(self.pieces) if i < 4 or processor.is_control(i)}
        self.pad_id = self.blank_id = self.special(PAD)
        self.unk_id, self.eos_id, self.bos_id = self.special(UNK), self.special(EOS), self.special(BOS)

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise SpeechError(f"tokenizer {path}: {error.strerror}") from None
        try:
            return cls(spm.SentencePieceProcessor(model_proto=content))
        except (RuntimeError, ValueError, OSError) as error:
            raise SpeechError(f"tokenizer {path}: not a SentencePiece model: {' '.join(str(error).split())}") from None

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
        """Train on normalised lines and write the model; fewer pieces come out where the text has no more."""
        controls = [BOS, *CONTROLS, *(f"<|{language}|>" for language in languages)]
        model = io.BytesIO()
        try:
            spm.SentencePieceTrainer.train(
                sentence_iterator=iter(texts),
                model_writer=model,
                model_type=kind,
                vocab_size=vocab_size,
                hard_vocab_limit=False,
                byte_fallback=byte_fallback,
                character_coverage=1.0,
                pad_id=0,
                unk_id=1,
                eos_id=2,
                bos_id=-1,
                pad_piece=PAD,
                unk_piece=UNK,
                eos_piece=EOS,
                control_symbols=controls,
                normalization_rule_name="identity",
                num_threads=1,
                minloglevel=2,
            )
        except RuntimeError as error:
            raise SpeechError(f"tokenizer of {vocab_size} pieces: {' '.join(str(error).split())}") from None
        aside = Path(path).with_suffix(".tmp")
        aside.write_bytes(model.getvalue())
        os.replace(aside, path)
        return cls.load(path)

    def special(self, name: str) -> int:
        if name not in self.specials:
            raise SpeechError(f"the tokenizer has no {name}; it has {' '.join(self.specials)}")
        return self.specials[name]

    def encode(self, text: str) -> list[int]:
        """Ids of the text; characters outside the vocabulary are an error that names them, never `<unk>`."""
        ids = self._spm.encode(text)
        if self.unk_id in ids:
            known = set("".join(self.pieces)) | {" "}
            odd = sorted(set(text) - known)
            raise DataError(f"characters outside the tokenizer: {' '.join(odd)} in {text[:60]!r}")
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids; special tokens are left out."""
        skip = set(self.specials.values())
        return self._spm.decode([int(i) for i in ids if int(i) not in skip])

    def save_tokens(self, path: str | Path) -> None:
        """Write `token id` lines for runtimes that read a list."""
        Path(path).write_text("".join(f"{piece} {i}\n" for i, piece in enumerate(self.pieces)), encoding="utf-8")
