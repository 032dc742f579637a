"""Pitch and energy of a waveform [samples] at the frames of its mel: frame t stands in the middle of samples
t hop ... (t + 1) hop, and there are samples // hop of them."""

import librosa
import numpy as np

from speech.compiled import compiling

LOW_HZ, HIGH_HZ = 65.0, 600.0
WINDOW_SECONDS = 0.093  # six periods of the lowest pitch
SEMITONES = 0.2  # between candidates: half as much costs four times more and hears 5 % more voiced frames
FLOOR = 1e-8  # of the energy: -80 dB of full scale


def pitch(x: np.ndarray, sample_rate: int, hop: int) -> np.ndarray:
    """Hz [T] by pYIN (Mauch 2014, librosa), 0 where unvoiced."""
    window = 2 * round(WINDOW_SECONDS * sample_rate / 2)
    with compiling("pyin"):
        hz, _, _ = librosa.pyin(
            _padded(x, window, hop), fmin=LOW_HZ, fmax=HIGH_HZ, sr=sample_rate, frame_length=window, hop_length=hop,
            resolution=SEMITONES, center=False, fill_na=0.0,
        )  # fmt: skip
    return hz[: len(x) // hop]


def log_energy(x: np.ndarray, window: int, hop: int) -> np.ndarray:
    """[T] natural logarithm of the mean square of the `window` samples around the middle of each frame."""
    frames = np.lib.stride_tricks.sliding_window_view(_padded(x, window, hop), window)[::hop][: len(x) // hop]
    return np.log(np.square(frames, dtype=np.float64).mean(1) + FLOOR)


def _padded(x: np.ndarray, window: int, hop: int) -> np.ndarray:
    """With zeros at both ends, so that window t begins at sample t hop."""
    before = (window - hop) // 2
    return np.pad(x, (before, window - before))
