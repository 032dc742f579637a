"""SentencePiece models from bytes of unknown origin."""

from collections.abc import Iterable
from contextlib import suppress

from sentencepiece import SentencePieceProcessor

from speech.errors import DataError, SpeechError
from speech.text.files import MAX_BYTES

BLANK_MARK = "\u2581"  # SentencePiece writes a blank so; in a text it would come back as a blank
PIECES, TRAINER, NORMALIZER = 1, 2, 3  # fields of a SentencePiece model, in the order of the file


def open_spe(model: bytes, name: str) -> SentencePieceProcessor:
    """SpeechError, beginning with the name, for bytes that are no whole model."""
    # cut at the end of a piece, a model still loads, with fewer pieces and without what follows them
    if len(model) <= MAX_BYTES and {PIECES, TRAINER, NORMALIZER} <= _fields(model):
        with suppress(RuntimeError, ValueError):
            return SentencePieceProcessor(model_proto=model)
    raise SpeechError(f"{name}: not a whole SentencePiece model; train or copy it again")


def pieces_of(sp: SentencePieceProcessor) -> list[str]:
    return [sp.id_to_piece(i) for i in range(sp.get_piece_size())]


def outside(sp: SentencePieceProcessor, text: str, whose: str = "", hint: str = "") -> DataError:
    """Names the characters that have no piece, once each, after the model's own normalisation."""
    pairs = zip(sp.encode(text), sp.encode(text, out_type=str), strict=True)
    unknown = "".join(piece for i, piece in pairs if i == sp.unk_id()) + BLANK_MARK * (BLANK_MARK in text)
    named = in_words(dict.fromkeys(unknown))
    return DataError(f"characters outside the vocabulary{whose}: {named}; normalise the text{hint}")


def in_words(characters: Iterable[str]) -> str:
    return " ".join(f"'{c}' (U+{ord(c):04X})" for c in characters)


def _fields(message: bytes) -> set[int]:
    """Numbers of the fields of a protobuf message; none for one that is cut or has fields of other types."""
    found, at = set(), 0
    while at < len(message):
        tag, at = _varint(message, at)
        length, at = _varint(message, at)
        at += length
        if tag & 7 != 2 or at > len(message):
            return set()
        found.add(tag >> 3)
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for i, byte in enumerate(message[at : at + 10]):
        value |= (byte & 127) << (7 * i)
        if byte < 128:
            return value, at + i + 1
    return len(message) + 1, len(message) + 1  # cut
