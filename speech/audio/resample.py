"""Resampling with soxr, whole or block by block with the same result."""

import numpy as np
import soxr


class Resampler:
    """Feed blocks of mono float32 at one rate, get blocks at another; the last call flushes."""

    def __init__(self, from_rate: int, to_rate: int):
        self.stream = None if from_rate == to_rate else soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32")

    def push(self, x: np.ndarray, last: bool = False) -> np.ndarray:
        return x if self.stream is None else self.stream.resample_chunk(x, last=last)


def resample(x: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """[samples] float32 at from_rate -> at to_rate."""
    return Resampler(from_rate, to_rate).push(np.ascontiguousarray(x, dtype=np.float32), last=True)
