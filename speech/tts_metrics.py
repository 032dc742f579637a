"""Synthesis beside a recording, and alignments: numpy in, numbers out. Durations and paths count mel frames."""

from collections.abc import Mapping, Sequence
from typing import Any

import librosa
import numpy as np
from scipy.fft import dct

from speech.compiled import compiling
from speech.metrics import error_rates

CEPSTRA = 13
GROSS = 0.2  # of the true pitch: further off is a gross error
JUMP_BACK, JUMP_FORWARD = 3, 5  # phonemes that attention may step at once


def cepstra(log_mel: np.ndarray) -> np.ndarray:
    """Natural log-mel [T, F] -> [T, 13]: numbers 1-13 of the orthonormal DCT-II, times sqrt(2 / F)."""
    return np.asarray(dct(log_mel, norm="ortho"))[:, 1 : CEPSTRA + 1] * np.sqrt(2 / log_mel.shape[1])


def mel_cepstral_distortion(reference: np.ndarray, found: np.ndarray) -> tuple[float, np.ndarray]:
    """Two log-mels [T, F] -> decibels, mean over the DTW path, and that path [P, 2] in rising order.

    Values compare within one mel and this scaling only: the DCT without sqrt(2 / F) gives 6.3 times as much at 80 bins.
    """
    a, b = cepstra(reference), cepstra(found)
    with compiling("dtw"):
        _, path = librosa.sequence.dtw(a.T, b.T)
    path = path[::-1]
    distances = np.linalg.norm(a[path[:, 0]] - b[path[:, 1]], axis=1)
    return float(10 / np.log(10) * np.sqrt(2) * distances.mean()), path


def pitch_errors(reference: np.ndarray, found: np.ndarray, path: np.ndarray) -> dict[str, float | None]:
    """F0 in Hz per frame, 0 or nan where unvoiced, compared along a DTW path.

    Over frames voiced in both, None if there is none: rmse_cents, and gross_error (GPE), the share that is more than
    20 % off. Over all frames: voicing_error, voiced in only one, and frame_error (FFE), one or the other.
    """
    a, b = reference[path[:, 0]], found[path[:, 1]]
    both, flipped = (a > 0) & (b > 0), (a > 0) != (b > 0)
    ratio = b[both] / a[both]
    gross = np.abs(ratio - 1) > GROSS
    return {
        "rmse_cents": float(np.sqrt(np.mean((1200 * np.log2(ratio)) ** 2))) if both.any() else None,
        "gross_error": float(gross.mean()) if both.any() else None,
        "voicing_error": float(flipped.mean()),
        "frame_error": float((gross.sum() + flipped.sum()) / len(path)),
    }


def duration_error_ms(found: np.ndarray, true: np.ndarray, hop_seconds: float) -> float:
    """Mean absolute error per phoneme."""
    return float(1000 * hop_seconds * np.abs(found - true).mean())


def focus_rate(attention: np.ndarray) -> np.ndarray:
    """[..., T, N] -> [...]: mean over frames of the largest weight (arXiv 1905.09263 section 3.3)."""
    return attention.max(-1).mean(-1)


def reading_head(attention: np.ndarray) -> np.ndarray:
    """[L, H, T, N] -> [T, N] of the head that reads: largest focus rate times share of phonemes that some frame looks
    at most. Focus alone would choose a head that is stuck on one phoneme."""
    heads = attention.reshape(-1, *attention.shape[2:])
    reached = [len(np.unique(head.argmax(-1))) for head in heads]
    return heads[np.argmax(focus_rate(heads) * reached)]


def attention_jumps(attention: np.ndarray) -> int:
    """[T, N] -> steps of its largest weight by more than 3 phonemes back or 5 forward."""
    steps = np.diff(attention.argmax(-1))
    return int(((steps < -JUMP_BACK) | (steps > JUMP_FORWARD)).sum())


def difference_interval(
    errors: Sequence[int], others: Sequence[int], tokens: Sequence[int], seed: int = 0, draws: int = 5000
) -> tuple[float, float]:
    """95 % interval of the error rate less that of another system, by drawing utterances with replacement.

    Errors of both and reference tokens by utterance: the same utterances are drawn for both (Bisani and Ney 2004).
    """
    drawn = np.random.default_rng(seed).integers(len(tokens), size=(draws, len(tokens)))
    rates = (np.asarray(errors) - np.asarray(others))[drawn].sum(1) / np.asarray(tokens)[drawn].sum(1)
    low, high = np.quantile(rates, [0.025, 0.975])
    return float(low), float(high)


def read_back(texts: Sequence[str], heard: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Any]]:
    """What a recogniser heard of each text in recording, copy and synthesis -> error rates and edits of each, and how
    much worse the synthesis is than its vocoder alone, with intervals: what the recogniser gets wrong is in both."""
    ids = [str(i) for i in range(len(texts))]
    found: dict[str, dict[str, Any]] = {name: {} for name in (*heard, "synthesis_minus_copy")}
    for rate, unit in ("wer", "word"), ("cer", "char"):
        rates = {name: error_rates(ids, texts, hypotheses, unit) for name, hypotheses in heard.items()}
        for name, r in rates.items():
            found[name][rate] = r.rate
            if unit == "word":
                edits = {key: getattr(r, key) for key in ("substitutions", "deletions", "insertions")}
                found[name] |= {**edits, "words": r.tokens, "right": 1 - r.sentence_rate}
        ours, theirs = ([u.errors for u in rates[name].utterances] for name in ("synthesis", "copy"))
        interval = difference_interval(ours, theirs, [u.tokens for u in rates["copy"].utterances])
        difference = rates["synthesis"].rate - rates["copy"].rate
        found["synthesis_minus_copy"] |= {rate: difference, f"{rate}_interval": list(interval)}
    return found
