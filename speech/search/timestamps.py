"""From token to word times: word edges by the energy between them, and the rules of other systems."""

from collections.abc import Sequence

import numpy as np

from speech.search.alignment import Span

QUIET_DB = 30.0  # below the loud frames of the recording: a pause, or nearer to them where the noise is
MIN_PAUSE_SECONDS = 0.1


def spread(count: int, seconds: float) -> list[Span]:
    """Equal shares of the recording, where nothing better is known."""
    return [Span(i * seconds / count, (i + 1) * seconds / count) for i in range(count)]


def energy_db(waveform: np.ndarray, sample_rate: int, hop_seconds: float = 0.01) -> np.ndarray:
    """[samples] -> decibels of frames of 10 ms, smoothed over 30, relative to the loud ones (the 95th percentile)."""
    hop = max(1, round(hop_seconds * sample_rate))
    frames = np.pad(waveform, (0, -len(waveform) % hop)).reshape(-1, hop).astype(np.float64)
    smooth = np.convolve(np.pad((frames**2).mean(1), 1, mode="edge"), np.ones(3) / 3, "valid")
    power = 10 * np.log10(smooth + 1e-12)
    return power - np.percentile(power, 95)


def widen(words: Sequence[Span], db: np.ndarray, hop_seconds: float = 0.01) -> list[Span]:
    """CTC marks a token by a peak inside it. Words grow from their peaks to the pause, or the quietest frame, between.

    Spans in seconds; `db` is the energy of frames of hop_seconds. A pause of 0.1 s and more belongs to no word.
    """
    edges = [0.0] + [w for word in words for w in (word.start, word.end)] + [len(db) * hop_seconds]
    floor = np.percentile(db, 10) if len(db) else -np.inf
    # where even the quietest tenth is loud, it is speech and no noise
    quiet = db < (max(-QUIET_DB, 0.6 * floor) if floor < -12 else -QUIET_DB)
    grown = []
    ends_before, starts_after = [], []
    for i in range(len(words) + 1):
        low, high = (round(edges[2 * i + k] / hop_seconds) for k in (0, 1))
        low, high = min(low, len(db)), min(max(low, high), len(db))
        a, b = _gap(db[low:high], quiet[low:high], outer=-1 if i == 0 else 1 if i == len(words) else 0)
        ends_before.append((low + a) * hop_seconds)
        starts_after.append((low + b) * hop_seconds)
    for i, word in enumerate(words):
        grown.append(Span(min(starts_after[i], word.start), max(ends_before[i + 1], word.end)))
    return grown


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
    if len(lengths) and lengths.max() >= round(MIN_PAUSE_SECONDS / 0.01):
        return int(flips[lengths.argmax(), 0]), int(flips[lengths.argmax(), 1])
    at = int(db.argmin())
    return at, at
