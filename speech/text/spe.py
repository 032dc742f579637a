"""SentencePiece models from bytes of unknown origin, and files of a limited size."""

from pathlib import Path

import sentencepiece

from speech.errors import SpeechError

BLANK_MARK = "\u2581"  # SentencePiece writes a blank so; in a text it would come back as a blank
MAX_BYTES = 16 * 2**20  # the largest known vocabularies, of 256k pieces, take 5 MB
PIECES, TRAINER, NORMALIZER = 1, 2, 3  # fields of a SentencePiece model, in the order of the file


def read_file(path: Path) -> bytes:
    """SpeechError, without the name, for a file that cannot be read or is too large for its kind."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SpeechError(f"cannot be read ({error.strerror})") from None
    if len(data) > MAX_BYTES:
        raise SpeechError(f"has more than {MAX_BYTES} bytes, too many for a tokenizer")
    return data


def read_part(folder: Path, name: str) -> bytes:
    """One of the files of a folder. SpeechError begins with its name."""
    try:
        return read_file(folder / name)
    except SpeechError as error:
        raise SpeechError(f"{name}: {error}") from None


def open_spe(model: bytes, name: str = "") -> sentencepiece.SentencePieceProcessor:
    """SpeechError, beginning with the name, for bytes that are no whole model."""
    prefix = f"{name}: " if name else ""
    # cut at the end of a piece, a model still loads, with fewer pieces and without what follows them
    if len(model) > MAX_BYTES or not {PIECES, TRAINER, NORMALIZER} <= _fields(model):
        raise SpeechError(f"{prefix}not a whole SentencePiece model; train or copy it again")
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=model)
    except (RuntimeError, ValueError):
        raise SpeechError(f"{prefix}not a SentencePiece model; train or copy it again") from None


def pieces_of(sp: sentencepiece.SentencePieceProcessor) -> list[str]:
    return [sp.id_to_piece(i) for i in range(sp.get_piece_size())]


def unknown_characters(sp: sentencepiece.SentencePieceProcessor, text: str) -> list[str]:
    """Those that have no piece, once each, after the model's own normalisation."""
    pairs = zip(sp.encode(text), sp.encode(text, out_type=str), strict=True)
    return list(dict.fromkeys("".join(piece for i, piece in pairs if i == sp.unk_id())))


def in_words(characters: list[str]) -> str:
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
