"""Synthesis beside a recording, and alignments: numpy in, numbers out. Durations and paths count mel frames."""

from dataclasses import dataclass

import librosa
import numpy as np
from scipy.fft import dct

CEPSTRA = 13


@dataclass(frozen=True)
class PitchErrors:
    rmse_cents: float
    """over frames voiced in both; nan if there is none"""
    voicing_error: float
    """share of frames voiced in only one"""


def cepstra(log_mel: np.ndarray) -> np.ndarray:
    """Natural log-mel [T, F] -> [T, 13]: numbers 1-13 of the orthonormal DCT-II, times sqrt(2 / F)."""
    return np.asarray(dct(log_mel, norm="ortho"))[:, 1 : CEPSTRA + 1] * np.sqrt(2 / log_mel.shape[1])


def mel_cepstral_distortion(reference: np.ndarray, found: np.ndarray) -> tuple[float, np.ndarray]:
    """Two log-mels [T, F] -> decibels, mean over the DTW path, and that path [P, 2] in rising order.

    Values compare within one mel and this scaling only: the DCT without sqrt(2 / F) gives 6.3 times as much at 80 bins.
    """
    a, b = cepstra(reference), cepstra(found)
    _, path = librosa.sequence.dtw(a.T, b.T)
    path = path[::-1]
    distances = np.linalg.norm(a[path[:, 0]] - b[path[:, 1]], axis=1)
    return float(10 / np.log(10) * np.sqrt(2) * distances.mean()), path


def pitch_errors(reference: np.ndarray, found: np.ndarray, path: np.ndarray) -> PitchErrors:
    """F0 in Hz per frame, 0 or nan where unvoiced, compared along a DTW path."""
    a, b = reference[path[:, 0]], found[path[:, 1]]
    voiced_a, voiced_b = a > 0, b > 0
    both = voiced_a & voiced_b
    cents = 1200 * np.log2(a[both] / b[both])
    rmse = float(np.sqrt(np.mean(cents**2))) if both.any() else float("nan")
    return PitchErrors(rmse, float(np.mean(voiced_a != voiced_b)))


def duration_error_ms(found: np.ndarray, true: np.ndarray, hop_seconds: float) -> float:
    """Mean absolute error per phoneme."""
    return float(1000 * hop_seconds * np.abs(found - true).mean())


def focus_rate(attention: np.ndarray) -> np.ndarray:
    """[..., T, N] -> [...]: mean over frames of the largest weight (arXiv 1905.09263 section 3.3)."""
    return attention.max(-1).mean(-1)


def share_near_path(attention: np.ndarray, path: np.ndarray, tokens: int = 1) -> np.ndarray:
    """[..., T, N] and the phoneme of each frame [T] -> [...]: share of frames whose largest weight is at most `tokens`
    away. A straight line from corner to corner is the score to beat."""
    return (np.abs(attention.argmax(-1) - path) <= tokens).mean(-1)
