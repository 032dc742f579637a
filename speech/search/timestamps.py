"""When each token and word was said: forced alignment on CTC scores, word edges by the energy between them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

QUIET_DB = 30.0  # below the loud frames of the recording: a pause, or nearer to them where the noise is
MIN_PAUSE_SECONDS = 0.1


@dataclass(frozen=True)
class Span:
    """Half-open range of frames, or of seconds."""

    start: float
    end: float


def ctc_align(log_probs: np.ndarray, ids: Sequence[int], blank: int) -> list[Span] | None:
    """The likeliest frames of each token (Graves et al. 2006, with max for sum): [T, V], [U] -> U spans of own frames.

    None where the frames are too few: every token needs one, and a blank stands between two equal ones.
    """
    frames, count = len(log_probs), len(ids)
    needed = count + sum(a == b for a, b in zip(ids, ids[1:], strict=False))
    if not count or needed > frames:
        return [] if not count else None
    states = np.full(2 * count + 1, blank)
    states[1::2] = ids
    emit = log_probs[:, states].astype(np.float64)  # [T, S]
    skip = np.zeros(len(states), bool)  # from the token before, over the blank
    skip[3::2] = states[3::2] != states[1:-2:2]
    score = np.full(len(states), -np.inf)
    score[:2] = emit[0, :2]
    steps = np.zeros((frames, len(states)), np.int8)
    for t in range(1, frames):
        one = np.concatenate([[-np.inf], score[:-1]])
        two = np.where(skip, np.concatenate([[-np.inf, -np.inf], score[:-2]]), -np.inf)
        choices = np.stack([score, one, two])
        steps[t] = choices.argmax(0)
        score = choices.max(0) + emit[t]
    state = len(states) - 1 if score[-1] >= score[-2] else len(states) - 2
    path = np.zeros(frames, int)
    for t in range(frames - 1, -1, -1):
        path[t] = state
        state -= steps[t, state]
    spans = []
    for u in range(count):
        at = np.flatnonzero(path == 2 * u + 1)
        spans.append(Span(float(at[0]), float(at[-1] + 1)))
    return spans


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
