"""The only door for Lhotse manifests: nothing in them may run a command, open a URL or unpickle."""

import gzip
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from lhotse import CutSet
from lhotse.cut import Cut, MixedCut, MonoCut, PaddingCut

from speech.audio.decode import decode
from speech.errors import DataError

SAFE_SOURCES = {"file", "memory", "shar", "shar_ptr"}
MAX_MISSING_SECONDS = 0.1


def read_lines(path: str | Path) -> Iterator[tuple[int, Any]]:
    """(line number, parsed JSON) of a .jsonl or .jsonl.gz file; a broken line comes as a DataError value."""
    text = str(path)
    if text.startswith("pipe:") or re.match(r"[a-z0-9+]+://", text):
        raise DataError(f"manifest {text}: only local files are opened, no pipes or URLs")
    if not text.endswith((".jsonl", ".jsonl.gz")):
        raise DataError(f"manifest {text}: the name must end in .jsonl or .jsonl.gz")
    opener = gzip.open if text.endswith(".gz") else open
    try:
        with opener(text, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    yield number, json.loads(line)
                except ValueError as error:
                    yield number, DataError(f"manifest {text} line {number}: broken JSON ({error})")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"manifest {text}: {getattr(error, 'strerror', None) or error}") from None


def danger(item: Any, allow_commands: bool = False, allow_urls: bool = False) -> str | None:
    """What in a parsed item would leave the local files, None if nothing; looks into every nested value."""
    if isinstance(item, list):
        return next((why for part in item if (why := danger(part, allow_commands, allow_urls))), None)
    if not isinstance(item, dict):
        return None
    kind = item.get("type")
    if "source" in item and isinstance(kind, str):
        allowed = SAFE_SOURCES | ({"command"} if allow_commands else set()) | ({"url"} if allow_urls else set())
        if kind not in allowed:
            return f"source of type {kind!r} is refused"
        text = str(item["source"])
        if kind == "file" and (text.startswith("pipe:") or re.match(r"[a-z0-9+]+://", text)):
            return "a file source names a pipe or URL"
    if "storage_type" in item:
        return f"stored arrays ({item['storage_type']}) are refused: only audio is read"
    return next((why for part in item.values() if (why := danger(part, allow_commands, allow_urls))), None)


def _absolute(item: Any, folder: Path) -> None:
    if isinstance(item, list):
        for part in item:
            _absolute(part, folder)
    elif isinstance(item, dict):
        if item.get("type") == "file" and isinstance(item.get("source"), str):
            item["source"] = str(folder / item["source"])
        for part in item.values():
            _absolute(part, folder)


def open_manifest(path: str | Path, allow_commands: bool = False, allow_urls: bool = False) -> CutSet:
    """Cuts of a manifest, eager. Relative audio paths are relative to the manifest's folder."""
    items, folder = [], Path(path).parent.absolute()
    for number, item in read_lines(path):
        if isinstance(item, DataError):
            raise item
        why = danger(item, allow_commands, allow_urls)
        if why is not None:
            raise DataError(f"manifest {path} line {number}: {why}")
        if not isinstance(item, dict) or "id" not in item:
            raise DataError(f"manifest {path} line {number}: not a cut with an id")
        _absolute(item, folder)
        items.append((number, item))
    if not items:
        raise DataError(f"manifest {path}: has no cuts")
    return CutSet.from_cuts(_build(path, number, item) for number, item in items)


def _build(path: str | Path, number: int, item: dict) -> Cut:
    try:
        return CutSet.from_dicts([item])[0]
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        raise DataError(f"manifest {path} line {number}: not a cut: {error!r}") from None


def save_manifest(cuts: CutSet, path: str | Path) -> None:
    """Write .jsonl.gz or .jsonl aside, then rename. The same cuts give the same bytes."""
    path = Path(path)
    aside = path.with_name(path.name + ".tmp")
    lines = (json.dumps(cut.to_dict(), ensure_ascii=False) + "\n" for cut in cuts)
    with aside.open("wb") as raw:
        if path.suffix == ".gz":
            with gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0) as file:
                file.writelines(line.encode() for line in lines)
        else:
            raw.writelines(line.encode() for line in lines)
    os.replace(aside, path)


def _mono(cut: MonoCut, sample_rate: int) -> np.ndarray:
    sources = cut.recording.sources if cut.recording is not None else []
    if len(sources) != 1:
        raise DataError(f"cut {cut.id}: needs one audio source, has {len(sources)}")
    return decode(sources[0].source, sample_rate, start=cut.start, duration=cut.duration)


def load_audio(cut: Cut, sample_rate: int) -> np.ndarray:
    """[samples] float32 mono, round(duration x sample_rate) long; tracks of a mixed cut are added at their offsets."""
    length = round(cut.duration * sample_rate)
    if isinstance(cut, PaddingCut):
        return np.zeros(length, np.float32)
    if isinstance(cut, MonoCut):
        return _fit(cut.id, _mono(cut, sample_rate), length, sample_rate)
    if not isinstance(cut, MixedCut):
        raise DataError(f"cut {cut.id}: {type(cut).__name__} is not supported")
    out = np.zeros(length, np.float32)
    for track in cut.tracks:
        if track.snr is not None:
            raise DataError(f"cut {cut.id}: a track with snr is not supported; mix noise by data.augment")
        if isinstance(track.cut, PaddingCut):
            continue
        x, at = load_audio(track.cut, sample_rate), round(track.offset * sample_rate)
        out[at : at + len(x)] += x[: max(0, length - at)]
    return out


def _fit(cut_id: str, x: np.ndarray, length: int, sample_rate: int) -> np.ndarray:
    if length - len(x) > MAX_MISSING_SECONDS * sample_rate:
        raise DataError(f"cut {cut_id}: {len(x)} samples at {sample_rate} Hz where the manifest says {length}")
    return x[:length] if len(x) >= length else np.pad(x, (0, length - len(x)))
