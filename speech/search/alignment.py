"""Which frames each token of a text was said in: by a CTC head, or by the decoder's attention."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

OWN = 2.0  # times the even share of the attention: frames with more are a token's own


class Span(NamedTuple):
    """Half-open range of frames, or of seconds."""

    start: float
    end: float


def ctc_align(log_probs: np.ndarray, ids: Sequence[int], blank: int) -> list[Span] | None:
    """The likeliest frames of each token (Graves et al. 2006, with max for sum): [T, V], [U] -> U spans of own frames.

    None where the frames are too few: every token needs one, and a blank stands between two equal ones.
    """
    repeated = np.array([a == b for a, b in zip(ids, ids[1:], strict=False)], bool)
    if len(ids) + repeated.sum() > len(log_probs):
        return None
    return _best_path(log_probs[:, list(ids)], log_probs[:, blank], repeated)


def attention_align(weights: np.ndarray) -> list[Span] | None:
    """The likeliest frames of each token, in order, by the weights of the decoder's cross-attention.

    [heads, U, T] of text tokens over real frames -> U spans. The mean of the heads is taken, as single ones look at
    other tokens as well. Frames that no token looks at more than twice as much as at an average one are a pause. None
    where there are more tokens than frames.
    """
    _, count, frames = weights.shape
    if count > frames:
        return None
    logs = np.log(np.maximum(weights.mean(0).T.astype(np.float64), 1e-8))
    return _best_path(logs, np.full(frames, np.log(OWN / frames)), np.zeros(max(0, count - 1), bool))


def _best_path(tokens: np.ndarray, gap: np.ndarray, apart: np.ndarray) -> list[Span]:
    """Viterbi over gap, token, ... gap: scores [T, U] and [T] -> spans. `apart` [U - 1]: a gap must come between."""
    frames, count = tokens.shape
    if not count:
        return []
    emit = np.repeat(gap.astype(np.float64)[:, None], 2 * count + 1, 1)  # [T, S]
    emit[:, 1::2] = tokens
    leap = np.full(2 * count + 1, -np.inf)  # from the token before, over the gap
    leap[3::2] = np.where(apart, -np.inf, 0.0)
    score = np.full((frames, 2 * count + 3), -np.inf)  # states stand behind two that are never reached
    score[0, 2:4] = emit[0, :2]
    for before, now, here in zip(score, score[1:], emit[1:], strict=False):
        best = np.maximum(before[2:], before[1:-1])
        np.maximum(best, before[:-2] + leap, out=best)
        np.add(best, here, out=now[2:])
    state = 2 * count if score[-1, -1] >= score[-1, -2] else 2 * count - 1
    path = np.full(frames, state)
    for t in range(frames - 1, 0, -1):
        stay, one, two = score[t - 1, state + 2], score[t - 1, state + 1], score[t - 1, state] + leap[state]
        state -= (0 if stay >= two else 2) if stay >= one else (1 if one >= two else 2)
        path[t - 1] = state
    own = (np.flatnonzero(path == 2 * u + 1) for u in range(count))
    return [Span(float(at[0]), float(at[-1] + 1)) for at in own]
