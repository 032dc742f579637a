"""From token to word times: word edges by the energy between them, and the rules of other systems."""

from collections.abc import Sequence

import numpy as np

from speech.search.alignment import Span

QUIET_DB = 30.0  # below the loud frames of the recording: a pause, or nearer to them where the noise is
MIN_PAUSE_SECONDS = 0.1
HOP_SECONDS = 0.01  # of the energy


def energy_db(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """[samples] -> decibels of frames of 10 ms, smoothed over 30, relative to the loud ones (the 95th percentile)."""
    hop = max(1, round(HOP_SECONDS * sample_rate))
    frames = np.pad(waveform, (0, -len(waveform) % hop)).reshape(-1, hop).astype(np.float64)
    smooth = np.convolve(np.pad((frames**2).mean(1), 1, mode="edge"), np.ones(3) / 3, "valid")
    power = 10 * np.log10(smooth + 1e-12)
    return power - np.percentile(power, 95)


def widen(words: Sequence[Span], db: np.ndarray) -> list[Span]:
    """CTC marks a token by a peak inside it. Words grow from their peaks to the pause, or the quietest frame, between.

    Spans in seconds; `db` is the energy of frames of 10 ms. A pause of 0.1 s and more belongs to no word.
    """
    floor = np.percentile(db, 10) if len(db) else -np.inf
    # where even the quietest tenth is loud, it is speech and no noise
    quiet = db < (max(-QUIET_DB, 0.6 * floor) if floor < -12 else -QUIET_DB)
    edges = [0, *(min(round(edge / HOP_SECONDS), len(db)) for word in words for edge in word), len(db)]
    gaps = []
    for i in range(len(words) + 1):
        low, high = edges[2 * i], max(edges[2 * i : 2 * i + 2])
        a, b = _gap(db[low:high], quiet[low:high], outer=-1 if i == 0 else 1 if i == len(words) else 0)
        gaps.append(Span((low + a) * HOP_SECONDS, (low + b) * HOP_SECONDS))
    neighbours = zip(gaps, words, gaps[1:], strict=False)
    return [Span(min(before.end, word.start), max(after.start, word.end)) for before, word, after in neighbours]


def _gap(db: np.ndarray, quiet: np.ndarray, outer: int) -> tuple[int, int]:
    """Where in the frames between two peaks the first word ends and the second begins; `outer`: -1 before all, 1 after.

    The longest quiet run parts them; without one of MIN_PAUSE_SECONDS both meet at the quietest frame.
    """
    if not len(db):
        return 0, 0
    quiet = np.concatenate([[False], quiet, [False]])
    flips = np.flatnonzero(quiet[1:] != quiet[:-1]).reshape(-1, 2)
    if outer < 0:  # silence up to the first word: its last quiet frame
        return 0, int(flips[-1, 1]) if len(flips) else 0
    if outer > 0:
        return (int(flips[0, 0]) if len(flips) else len(db)), len(db)
    lengths = flips[:, 1] - flips[:, 0]
    if len(lengths) and lengths.max() >= round(MIN_PAUSE_SECONDS / HOP_SECONDS):
        return int(flips[lengths.argmax(), 0]), int(flips[lengths.argmax(), 1])
    at = int(db.argmin())
    return at, at
