"""Where a graph's weights lie outside its file, read from its bytes without opening any of them.

onnxruntime opens such files by path, and a foreign graph may name any (CVE-2022-25882, CVE-2024-27318 and followers).
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from speech.errors import SpeechError

# Fields of onnx.proto that hold messages with tensors in them, by the kind of message.
INSIDE = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
EXTERNAL_DATA, DATA_LOCATION, KEY, VALUE = 13, 14, 1, 2
DEEPEST = 40  # graphs in graphs


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number without an end")


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at + size > len(data):
            raise ValueError("a field ends behind the file")
        if wire == 2:
            yield number, data[at : at + size]
        at += size


def _places(data: memoryview, kind: str, depth: int = 0) -> Iterator[dict[str, str]]:
    if depth > DEEPEST:
        raise ValueError("graphs lie too deep in graphs")
    if kind == "tensor":
        place, external = {}, False
        for number, value in _fields(data):
            if number == EXTERNAL_DATA and isinstance(value, memoryview):
                entry = {n: bytes(v).decode() for n, v in _fields(value) if isinstance(v, memoryview)}
                place[entry.get(KEY, "")] = entry.get(VALUE, "")
            external |= number == DATA_LOCATION and value == 1
        if external or place:
            yield place
        return
    for number, value in _fields(data):
        if isinstance(value, memoryview) and number in INSIDE[kind]:
            yield from _places(value, INSIDE[kind][number], depth + 1)


def check_external(path: Path) -> None:
    """SpeechError unless every tensor of the graph lies in it, or inside a plain file beside it."""
    try:
        for place in _places(memoryview(path.read_bytes()), "model"):
            _check(path, place)
    except FileNotFoundError:
        raise SpeechError(f"{path} is missing: export the model anew") from None
    except (ValueError, IndexError, UnicodeDecodeError, OSError) as error:
        raise SpeechError(f"{path} is no ONNX file or a broken one ({error}): export the model anew") from None


def _check(path: Path, place: dict[str, str]) -> None:
    name = place.get("location", "")
    if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise SpeechError(f"{path}: weights in {name[:80]!r}: only a file beside the graph may hold them")
    file = path.parent / name
    try:
        found = os.lstat(file)
    except OSError:
        raise SpeechError(f"{file} is missing: it holds weights of {path.name}") from None
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        raise SpeechError(f"{file} holds weights of {path.name} but is a link or no plain file: copy it there")
    offset, length = int(place.get("offset") or 0), int(place.get("length") or 0)
    if offset < 0 or length < 0 or offset + length > found.st_size:
        raise SpeechError(f"{file} is cut off: {path.name} wants bytes {offset} to {offset + length} of it")
