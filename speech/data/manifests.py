"""The only door for lhotse manifests, and the one loader of a cut's audio.

A manifest is data from others: lhotse would run a `command` source or open a URL. Each line is checked as plain JSON
before lhotse sees it.
"""

import base64
import binascii
import gzip
import json
import math
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from lhotse import CutSet, MonoCut, Recording
from lhotse.cut import Cut, MixedCut, PaddingCut
from lhotse.serialization import deserialize_item

from speech.audio.decode import decode
from speech.data.config import SUFFIXES
from speech.errors import DataError

CUT_TYPES = ("MonoCut", "MixedCut")
MAX_MISSING_SECONDS = 0.1  # rounding and codec delay; more is another file than the manifest says

_REMOTE = re.compile(r"\s*(pipe:|[a-z][a-z0-9+.-]*://)", re.IGNORECASE)


def open_manifest(path: str | Path) -> CutSet:
    """Cuts of a .jsonl or .jsonl.gz; relative audio paths count from the manifest's folder.

    DataError names the line of broken JSON, a duplicate id, stored features, and of `command` and `url` sources.
    """
    return CutSet.from_cuts([cut for _, cut in read_cuts(path, read_bytes(path))])


def read_cuts(path: str | Path, data: np.ndarray) -> Iterator[tuple[int, Cut]]:
    """(line number, cut) of what `read_bytes` has read."""
    first: dict[str, int] = {}
    for number, line in read_lines(data):
        try:
            cut = parse_cut(line, Path(path).parent)
            if cut.id in first:
                raise DataError(f"the id '{cut.id}' stands on line {first[cut.id]} too")
        except DataError as error:
            raise DataError(f"{path}, line {number}: {error}") from None
        first[cut.id] = number
        yield number, cut
    if not first:
        raise DataError(f"{path}: no cuts in the manifest")


def read_lines(data: np.ndarray) -> Iterator[tuple[int, bytes]]:
    """(line number, line), empty lines left out."""
    for number, (begin, end) in enumerate(zip(*line_edges(data), strict=True), start=1):
        line = data[begin:end].tobytes()
        if line.strip():
            yield number, line


def read_bytes(path: str | Path) -> np.ndarray:
    """uint8 of a .jsonl, mapped from the disk, or of what a .jsonl.gz holds. DataError for one that cannot be read."""
    check_name(path)
    path = Path(path)
    try:
        if path.suffix == ".gz":
            return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8)
        return np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: broken gzip file ({error})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def line_edges(data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the lines of uint8 begin and end."""
    ends = np.append(np.flatnonzero(data == ord("\n")), len(data))
    return np.concatenate([[0], ends[:-1] + 1]), ends


def parse_cut(line: bytes, folder: Path) -> Cut:
    """One line -> a cut. DataError without file and line, which the caller knows."""
    try:
        item = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON ({error})") from None
    if not isinstance(item, dict) or item.get("type") not in CUT_TYPES:
        kind = item.get("type") if isinstance(item, dict) else type(item).__name__
        raise DataError(f"{kind} is not a cut: an item needs the type {' or '.join(CUT_TYPES)}")
    if not isinstance(item.get("id"), str) or not item["id"]:
        raise DataError("the cut has no id")
    stack: list[Any] = [item]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            if "storage_type" in node:
                raise DataError(
                    f"stored features ({node['storage_type']}) are refused: a manifest points at audio only"
                )
            if "type" in node and "source" in node:
                _check_source(node, folder)
        if isinstance(node, dict | list):
            stack.extend(node.values() if isinstance(node, dict) else node)
    try:
        cut = deserialize_item(item)
        if not 0 < cut.duration < math.inf or cut.sampling_rate <= 0:
            raise ValueError(f"duration {cut.duration} s at {cut.sampling_rate} Hz")
        return cut
    except Exception as error:  # whatever lhotse's constructors stumble over is a fault of the line
        raise DataError(f"not a lhotse cut ({type(error).__name__}: {error})") from None


def _check_source(node: dict[str, Any], folder: Path) -> None:
    """Refuse what is not plain audio; make a relative path absolute and base64 bytes again, in place."""
    kind, source = node["type"], node["source"]
    if kind not in ("file", "memory", "shar"):
        raise DataError(f"audio source of type '{kind}' is refused; only file, memory and shar are read")
    if not isinstance(source, str):
        raise DataError(f"audio source {source!r} is not a text")
    if kind == "file":
        if _REMOTE.match(source):
            raise DataError(f"audio source '{source}' is refused: it is not a local file")
        node["source"] = str(folder / source)
    if kind == "memory":
        try:
            node["source"] = base64.b64decode(source, validate=True)
        except (binascii.Error, ValueError):
            raise DataError("audio source of type 'memory' is not base64") from None


def save_manifest(cuts: Iterable[Cut], path: str | Path) -> None:
    """Write .jsonl or .jsonl.gz whole or not at all; bytes in memory are written as base64."""
    check_name(path)
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps(cut.to_dict(), ensure_ascii=False, default=_bytes_as_text) for cut in cuts)
        data = b"".join(line.encode() + b"\n" for line in lines)
        temporary.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from None
    finally:
        temporary.unlink(missing_ok=True)


def _bytes_as_text(value: bytes) -> str:
    assert isinstance(value, bytes), f"a {type(value).__name__} in a cut"
    return base64.b64encode(value).decode()


def check_name(path: str | Path) -> None:
    if _REMOTE.match(str(path)):
        raise DataError(f"manifest '{path}' is refused: it is not a local file")
    if not str(path).endswith(SUFFIXES):
        raise DataError(f"manifest '{path}' does not end in {' or '.join(SUFFIXES)}")


def load_audio(cut: Cut, sample_rate: int) -> np.ndarray:
    """[samples] float32 mono, samples = round(cut.duration * sample_rate); tracks of a mixture are summed.

    DataError for a source that is neither file nor memory, for transforms, for a mixture at an SNR, and when more than
    0.1 s is missing. Several channels of a file are averaged.
    """
    n = round(cut.duration * sample_rate)
    if isinstance(cut, PaddingCut):
        return np.zeros(n, dtype=np.float32)
    if isinstance(cut, MixedCut):
        return _mix(cut, n, sample_rate)
    if not isinstance(cut, MonoCut) or cut.recording is None:
        raise DataError(f"cut {cut.id}: a {type(cut).__name__} without one mono recording cannot be read")
    sources = cut.recording.sources
    if len(sources) != 1 or sources[0].type not in ("file", "memory"):
        raise DataError(f"cut {cut.id}: needs one source of type file or memory, has {[s.type for s in sources]}")
    if cut.recording.transforms:
        raise DataError(f"cut {cut.id}: transforms of a recording are not applied here; save the changed audio instead")
    source = sources[0].source
    x = decode(Path(source) if isinstance(source, str) else source, sample_rate, start=cut.start, duration=cut.duration)
    if n - len(x) > MAX_MISSING_SECONDS * sample_rate:
        have, need = len(x) / sample_rate, n / sample_rate
        raise DataError(f"cut {cut.id}: the audio has {have:.3f} s where the manifest says {need:.3f} s")
    return x[:n] if len(x) >= n else np.pad(x, (0, n - len(x)))


def recordings(cut: Cut) -> Iterator[Recording]:
    """What a cut reads, silence left out."""
    for part in [track.cut for track in cut.tracks] if isinstance(cut, MixedCut) else [cut]:
        if isinstance(part, MonoCut) and part.recording is not None:
            yield part.recording


def sources(cut: Cut) -> Iterator[str | bytes]:
    """Audio files, or bytes in memory, that a cut reads."""
    return (source.source for recording in recordings(cut) for source in recording.sources)


def _mix(cut: MixedCut, n: int, sample_rate: int) -> np.ndarray:
    if cut.transforms or any(track.snr is not None for track in cut.tracks):
        raise DataError(f"cut {cut.id}: mixing at an SNR or with transforms is not done here; use data augmentation")
    out = np.zeros(n, dtype=np.float32)
    for track in cut.tracks:
        start = round(track.offset * sample_rate)
        x = load_audio(track.cut, sample_rate)[: n - start]
        out[start : start + len(x)] += x
    return out
