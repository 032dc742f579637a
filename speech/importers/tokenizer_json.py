"""A SentencePiece model out of the tokenizer.json that transformers makes of one.

Its converter keeps the pieces, the order of the merges and the normalisation, and writes all else the same for every
model. The scores are lost, but for their order they mean nothing: it is that of the merges.
"""

import base64
import binascii
import struct

from speech.errors import SpeechError
from speech.importers.settings import FIXED, Settings
from speech.text.base import PAD

# sentencepiece_model.proto: types of pieces, and of the model
NORMAL, UNKNOWN, CONTROL, USER, BYTE = 1, 2, 3, 4, 6
BPE = 2
BYTES = [f"<0x{i:02X}>" for i in range(256)]
# what the converter writes for every model
STRIP = {"type": "Strip", "strip_left": False, "strip_right": True}
JOIN = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "\u2581"}
BLANKS = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}


def sentencepiece_model(config: Settings) -> bytes:
    """The bytes of a tokenizer.model. SpeechError, beginning with the file, for what no such model can hold."""
    config.demand("model.type", "BPE")
    config.demand("model.fuse_unk", True)
    config.check(FIXED["tokenizer"])
    if config.get("pre_tokenizer") != BLANKS:
        raise config.wrong("pre_tokenizer", "is not SentencePiece's")
    pieces, unknown = _pieces(config), config.text("model.unk_token")
    kinds = _added(config, pieces)
    if halves := [piece for piece in pieces if any("\ud800" <= c <= "\udfff" for c in piece)]:
        raise SpeechError(f"{config.file}: the piece {halves[0][:40]!r} has half a character")
    if unknown not in pieces:
        raise config.wrong("model.unk_token", "is no piece")
    fallback = config.get("model.byte_fallback") is True and set(BYTES) <= set(pieces)
    kinds |= {**(dict.fromkeys(BYTES, BYTE) if fallback else {}), unknown: UNKNOWN}
    ranks = {piece: i for i, piece in enumerate(dict.fromkeys(_merges(config)))}
    out = b""
    for piece in pieces:
        score = _varint(2 << 3 | 5) + struct.pack("<f", -ranks.get(piece, len(ranks)))
        out += _bytes(1, _bytes(1, piece.encode()) + score + _number(3, kinds.get(piece, NORMAL)))
    trainer = _number(3, BPE) + _number(4, len(pieces)) + _number(35, int(fallback)) + _bytes(45, unknown.encode())
    return out + _bytes(2, trainer) + _bytes(3, _bytes(2, _charsmap(config)))


def _pieces(config: Settings) -> list[str]:
    """In the order of their ids, which begin at 0."""
    vocabulary = config.get("model.vocab")
    numbers = vocabulary.values() if isinstance(vocabulary, dict) else [None]
    if sorted(map(str, numbers)) != sorted(map(str, range(len(numbers)))):
        raise config.wrong("model.vocab", "does not number its pieces from 0 on")
    return sorted(vocabulary, key=lambda piece: int(vocabulary[piece]))


def _merges(config: Settings) -> list[str]:
    """What each pair makes, the most urgent first."""
    merges = config.get("model.merges")
    if not isinstance(merges, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in merges):
        raise config.wrong("model.merges", "is not a list of pairs")
    return [f"{left}{right}" for left, right in merges]


def _added(config: Settings, pieces: list[str]) -> dict[str, int]:
    """Types of the pieces that no merge makes. New ones go to the end of `pieces`."""
    tokens = config.get("added_tokens", [])
    if not isinstance(tokens, list) or not all(
        isinstance(t, dict) and isinstance(t.get("content"), str) and isinstance(t.get("id"), int) for t in tokens
    ):
        raise config.wrong("added_tokens", "is not a list of tokens with an id")
    kinds: dict[str, int] = {}
    for token in sorted(tokens, key=lambda t: t["id"]):
        content, place = token["content"], token["id"]
        if place == len(pieces) and content not in kinds:
            pieces.append(content)
        if not 0 <= place < len(pieces) or pieces[place] != content:
            raise SpeechError(f"{config.file}: the added token {content[:40]!r} has no piece with its id {place}")
        # symbols are found in a text, as those of prompts must be; <s> and the like are not
        named = content == PAD or content.startswith("<|") and content.endswith("|>")
        kinds[content] = CONTROL if token.get("special") is True and not named else USER
    return kinds


def _charsmap(config: Settings) -> bytes:
    steps = config.get("normalizer.normalizers")
    steps = steps if isinstance(steps, list) else []
    first = steps[0] if len(steps) == 3 and isinstance(steps[0], dict) else {}
    if steps[-2:] != [STRIP, JOIN] or len(steps) > 2 and first.get("type") != "Precompiled":
        raise config.wrong("normalizer", "is not SentencePiece's")
    try:
        return base64.b64decode(first.get("precompiled_charsmap") or "", validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise config.wrong("normalizer", "has no charsmap in base64") from None


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value
