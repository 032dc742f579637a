import itertools

import numpy as np
import pytest

from speech.search.alignment import attention_align, ctc_align


def spread_out(u: int, frames: int):
    """Every way to give u tokens frames in order, with gaps: lists of (start, end)."""
    for edges in itertools.combinations_with_replacement(range(frames + 1), 2 * u):
        spans = list(zip(edges[::2], edges[1::2], strict=True))
        if all(a < b for a, b in spans):
            yield spans


def test_attention_gives_the_likeliest_frames_in_order():
    rng = np.random.default_rng(0)
    for _ in range(20):
        weights = rng.random((3, 3, 7)) ** 3
        mean, gap = weights.mean(0), 2 / 7

        def score(spans, mean=mean, gap=gap):
            own = [mean[u, a:b] for u, (a, b) in enumerate(spans)]
            return sum(np.log(w).sum() for w in own) + np.log(gap) * (7 - sum(len(w) for w in own))

        assert attention_align(weights) == max(spread_out(3, 7), key=score)


def test_a_pause_that_nobody_looks_at_is_no_part_of_a_token():
    walks = np.full((2, 20), 0.01)
    walks[0, 3:5], walks[1, 14:17] = 0.4, 0.3
    assert attention_align(walks[None]) == [(3, 5), (14, 17)]
    assert attention_align(np.stack([walks, np.full((2, 20), 0.05)])) == [(3, 5), (14, 17)]  # a head that looks nowhere


def test_what_cannot_be_aligned():
    assert attention_align(np.ones((2, 5, 4))) is None
    assert attention_align(np.ones((2, 0, 4))) == []
    assert [s.start for s in attention_align(np.ones((1, 4, 4)))] == [0, 1, 2, 3]
    assert attention_align(np.zeros((1, 2, 3))) is not None  # no weight anywhere is no fault


@pytest.mark.parametrize("frames", [3, 50])
def test_spans_are_in_order_and_inside(frames):
    weights = np.random.default_rng(1).random((3, 3, frames))
    edges = [edge for span in attention_align(weights) for edge in span]
    assert edges == sorted(edges) and 0 <= edges[0] and edges[-1] <= frames


def test_a_long_text_is_aligned():
    ids = [1 + u % 2 for u in range(300)]
    log_probs = np.full((600, 3), -9.0)
    log_probs[::2, 0] = log_probs[np.arange(1, 600, 2), ids] = 0.0
    assert ctc_align(log_probs, ids, 0) == [(2 * u + 1, 2 * u + 2) for u in range(300)]
