"""Which frames each token of a text was said in: by a CTC head, or by the decoder's attention."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

PEAK = 0.5  # of a token's greatest weight: frames with more are its own


class Span(NamedTuple):
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
        state -= int(steps[t, state])
    spans = []
    for u in range(count):
        at = np.flatnonzero(path == 2 * u + 1)
        spans.append(Span(float(at[0]), float(at[-1] + 1)))
    return spans


def attention_align(weights: np.ndarray) -> list[Span] | None:
    """The likeliest frames of each token, in order and without a gap, by the weights of the decoder's cross-attention.

    [heads, U, T] of text tokens over real frames -> U spans. Only heads that move through the sound say when: the one
    whose best path carries the most weight decides (the focus rate of arXiv 1905.09263 section 3.1). None where there
    are more tokens than frames.
    """
    if weights.shape[1] > weights.shape[2]:
        return None
    if not weights.shape[1]:
        return []
    logs = np.log(np.maximum(weights.astype(np.float64), 1e-8))
    heads, tokens, frames = logs.shape
    score = np.full((heads, tokens), -np.inf)
    score[:, 0] = logs[:, 0, 0]
    moved = np.zeros((frames, heads, tokens), bool)
    for t in range(1, frames):
        before = np.concatenate([np.full((heads, 1), -np.inf), score[:, :-1]], 1)
        moved[t] = before > score
        score = np.maximum(before, score) + logs[:, :, t]
    head, token = int(score[:, -1].argmax()), tokens - 1
    owner = np.zeros(frames, int)
    for t in range(frames - 1, -1, -1):
        owner[t] = token
        token -= int(moved[t, head, token])
    spans = []
    for u in range(tokens):
        own = np.flatnonzero(owner == u)
        strong = own[weights[head, u, own] >= PEAK * weights[head, u, own].max()]
        spans.append(Span(float(strong[0]), float(strong[-1] + 1)))
    return spans
