"""Augmentation whose randomness is a function of (seed, epoch, example id): workers and ranks change nothing."""

import hashlib

import librosa
import numpy as np
import torch
from torch import Tensor

from speech.audio.resample import resample
from speech.compiled import compiling


def example_rng(seed: int, epoch: int, example_id: str) -> np.random.Generator:
    digest = hashlib.blake2b(f"{seed}/{epoch}/{example_id}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def draw(what: str, seed: int, passes: np.ndarray, keys: np.ndarray, values: list[float]) -> np.ndarray:
    """One of the values [N] for cuts with keys [N] uint64 in their passes [N], before sampling, so lengths are true.

    `what` is drawn (speed, tempo) makes the choices independent of each other.
    """
    salt = np.uint64(int.from_bytes(hashlib.blake2b(f"{seed}/{what}".encode(), digest_size=8).digest(), "little"))
    x = keys ^ salt
    x = x + (passes.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)  # the mixing steps of SplitMix64
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(values)[(x ^ (x >> np.uint64(31))) % np.uint64(len(values))]


def change_speed(x: np.ndarray, factor: float, sample_rate: int) -> np.ndarray:
    """Play [samples] `factor` times faster, pitch included (Ko et al. 2015)."""
    return x if factor == 1.0 else resample(x, round(sample_rate * factor), sample_rate)


def change_tempo(x: np.ndarray, factor: float, sample_rate: int) -> np.ndarray:
    """Play [samples] `factor` times faster and keep the pitch: a phase vocoder with windows of about 40 ms."""
    if factor == 1.0:
        return x
    window = 2 ** round(np.log2(0.04 * sample_rate))
    x, samples = np.pad(x, (0, max(0, window - len(x)))), round(len(x) / factor)
    with compiling("time_stretch"):
        return librosa.effects.time_stretch(x, rate=factor, n_fft=window)[:samples]


def mix_noise(x: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Add noise, repeated to the length of x [samples], at the given ratio of mean powers."""
    noise = np.resize(noise, x.shape)
    power, noise_power = float(np.mean(x**2)), float(np.mean(noise**2))
    if power == 0.0 or noise_power == 0.0:
        return x
    return (x + noise * np.sqrt(power / noise_power / 10 ** (snr_db / 10))).astype(np.float32)


def spec_augment_masks(
    rngs: list[np.random.Generator], frames: list[int], bins: int, freq: tuple[int, int], time: tuple[int, int]
) -> Tensor:
    """Frequency and time masks (count, width) of SpecAugment (arXiv 1904.08779) -> [B, T, F], False where hidden.

    Widths shrink where the masks together could hide more than half of the frames, or every bin.
    """
    freq_width = min(freq[1], (bins - 1) // max(1, freq[0]))
    keep = torch.ones(len(frames), max(frames), bins, dtype=torch.bool)
    for row, (rng, length) in enumerate(zip(rngs, frames, strict=True)):
        for _ in range(freq[0]):
            width = int(rng.integers(0, freq_width + 1))
            start = int(rng.integers(0, max(1, bins - width)))
            keep[row, :, start : start + width] = False
        for _ in range(time[0]):
            width = int(rng.integers(0, min(time[1], length // (2 * time[0])) + 1))
            start = int(rng.integers(0, max(1, length - width)))
            keep[row, start : start + width] = False
    return keep
