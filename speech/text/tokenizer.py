"""Text to ids and back: SentencePiece with one layout of special symbols for every model."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import sentencepiece

from speech.errors import DataError, SpeechError

PAD, UNK, EOS, BOS = "<pad>", "<unk>", "<|endoftext|>", "<|startoftranscript|>"
CONTROLS = ("<|nospeech|>", "<|transcribe|>", "<|translate|>", "<|pnc|>", "<|nopnc|>")
BLANK_MARK = "\u2581"  # SentencePiece writes a blank so; in a text it would come back as a blank


class Tokenizer:
    """Ids: 0 pad and CTC blank, 1 unk, 2 end, 3 start, the task symbols, one `<|xx|>` per language, then pieces.

    No text can produce a special symbol. decode(encode(x)) == x for a text with single inner blanks.
    """

    def __init__(self, model: bytes):
        self.model = model
        self._sp = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.pieces: list[str] = [self._sp.id_to_piece(i) for i in range(self._sp.get_piece_size())]
        layout = [PAD, UNK, EOS, BOS, *CONTROLS]
        if self.pieces[: len(layout)] != layout:
            raise SpeechError(
                f"tokenizer begins with {self.pieces[:4]}, not with {layout[:4]}: it was not trained here"
            )
        self._specials = {p: i for i, p in enumerate(self.pieces) if self._sp.is_control(i) or self._sp.is_unknown(i)}
        self.languages = [name[2:-2] for name in self._specials if name not in layout]

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """SpeechError for a file that is missing, broken or of another layout."""
        try:
            return cls(Path(path).read_bytes())
        except OSError as error:
            raise SpeechError(f"tokenizer {path}: cannot be read ({error.strerror})") from None
        except SpeechError as error:
            raise SpeechError(f"tokenizer {path}: {error}") from None
        except (RuntimeError, ValueError):
            raise SpeechError(f"tokenizer {path}: not a SentencePiece model; train or copy it again") from None

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
        if kind not in ("bpe", "char"):
            raise SpeechError(f"tokenizer kind '{kind}' is not one of bpe, char")
        lines = [line for text in texts if (line := " ".join(text.split()))]
        if not lines:
            raise DataError("no text to train a tokenizer on: every transcript is empty")
        controls = [*CONTROLS, *(f"<|{language}|>" for language in dict.fromkeys(languages))]
        characters = {character for line in lines for character in line if character != " "} | {BLANK_MARK}
        needed = 4 + len(controls) + 256 * byte_fallback + len(characters)
        if vocab_size < needed:
            hint = " or set byte_fallback to false" if byte_fallback else ""
            raise SpeechError(f"vocab_size {vocab_size} is below {needed}, what the characters need: raise it{hint}")
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
            max_sentence_length=max(len(line.encode()) for line in lines)
            + 10,  # longer ones would be left out silently
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
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(model.getvalue())
        return tokenizer

    @property
    def size(self) -> int:
        return len(self.pieces)

    @property
    def pad_id(self) -> int:
        return 0

    @property
    def blank_id(self) -> int:
        return 0

    @property
    def unk_id(self) -> int:
        return 1

    @property
    def eos_id(self) -> int:
        return 2

    @property
    def bos_id(self) -> int:
        return 3

    def special(self, name: str) -> int:
        """Id of a special symbol such as `<|pnc|>`."""
        if name not in self._specials:
            raise SpeechError(f"no special symbol '{name}' in the tokenizer, it has {' '.join(self._specials)}")
        return self._specials[name]

    @property
    def special_ids(self) -> list[int]:
        """Ids that are no text: pad, unk, end, start, tasks, languages."""
        return sorted(self._specials.values())

    def encode(self, text: str) -> list[int]:
        """DataError names the characters outside the vocabulary; `<unk>` is never returned."""
        ids: list[int] = self._sp.encode(text)
        if self.unk_id in ids or BLANK_MARK in text:
            known = {c for piece in self.pieces if piece not in self._specials for c in piece} - {BLANK_MARK}
            unknown = [c for c in dict.fromkeys(text) if c not in known and c != " "]
            named = " ".join(f"'{c}' (U+{ord(c):04X})" for c in unknown)
            raise DataError(
                f"characters outside the vocabulary: {named}; normalise the text or train with byte_fallback"
            )
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Text of the ids; special symbols are left out."""
        specials = self._specials.values()
        return self._sp.decode([i for i in map(int, ids) if i not in specials])

    def save_tokens(self, path: str | Path) -> None:
        """Write one `token id` line per piece."""
        Path(path).write_text("".join(f"{p} {i}\n" for i, p in enumerate(self.pieces)), encoding="utf-8")
