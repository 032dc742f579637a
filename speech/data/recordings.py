"""Decoded audio of cuts."""

import numpy as np
from lhotse.cut import Cut

from speech.data.manifests import load_audio


class Recordings:
    """Waveforms [samples] of cuts by `load_audio`, kept in memory while there is room: the same samples either way."""

    def __init__(self, sample_rate: int, seconds: float = 0.0):
        self.sample_rate, self.room = sample_rate, seconds
        self.kept: dict[str, np.ndarray] = {}

    def __call__(self, cut: Cut) -> np.ndarray:
        if cut.id in self.kept:
            return self.kept[cut.id]
        x = load_audio(cut, self.sample_rate)
        if cut.duration <= self.room:
            self.room -= cut.duration
            self.kept[cut.id] = x
        return x
