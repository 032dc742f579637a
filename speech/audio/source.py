"""Whatever a caller may hold as a recording: a path, bytes, a file or an array; out come blocks at one rate."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from speech.audio.decode import BLOCK_SAMPLES, Limits, Source, checked, stream
from speech.audio.resample import Resampler
from speech.errors import AudioError, SpeechError


def name_of(source: Source | np.ndarray) -> str:
    """SpeechError for what is no recording at all."""
    if isinstance(source, np.ndarray):
        return f"array of shape {source.shape}"
    if isinstance(source, (str, Path)):
        return str(source)
    if isinstance(source, bytes):
        return "audio bytes"
    if hasattr(source, "read"):
        return str(getattr(source, "name", "audio stream"))
    raise SpeechError(f"{type(source).__name__} is no audio: give a path, bytes, a file or a numpy array")


def open_blocks(
    source: Source | np.ndarray, sampling_rate: int | None, to_rate: int, limits: Limits
) -> Iterator[np.ndarray]:
    """Blocks [samples] of float32 at `to_rate`; an array [samples] in [-1, 1] needs its sampling_rate."""
    name, x, rate = name_of(source), source, sampling_rate
    if not isinstance(x, np.ndarray):
        return stream(x, to_rate, limits=limits)
    if x.ndim != 1 or not len(x):
        raise AudioError(f"{name}: needs samples in one dimension")
    if not np.issubdtype(x.dtype, np.floating):
        raise AudioError(f"{name}: has {x.dtype} samples, needs floating-point ones in [-1, 1]")
    if rate is None:
        raise SpeechError(f"{name}: needs sampling_rate")
    if not limits.min_sample_rate <= rate <= limits.max_sample_rate:
        low, high = limits.min_sample_rate, limits.max_sample_rate
        raise SpeechError(f"{name}: sampling_rate {rate} Hz is outside {low} ... {high} Hz")
    if len(x) > limits.max_seconds * rate:
        raise AudioError(f"{name}: {len(x) / rate:.1f} s long, the limit is {limits.max_seconds:g} s")
    return _array_blocks(x, name, rate, to_rate)


def _array_blocks(x: np.ndarray, name: str, rate: int, to_rate: int) -> Iterator[np.ndarray]:
    resampler = Resampler(rate, to_rate)
    for at in range(0, len(x), BLOCK_SAMPLES):
        block = checked(x[at : at + BLOCK_SAMPLES], name)
        last = at + BLOCK_SAMPLES >= len(x)
        yield resampler.push(np.ascontiguousarray(block, np.float32), last=last)
