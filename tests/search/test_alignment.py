import itertools

import numpy as np
import pytest

from speech.search.alignment import attention_align, ctc_align


def test_attention_gives_the_likeliest_order_of_frames():
    rng = np.random.default_rng(0)
    for _ in range(20):
        weights = rng.random((1, 3, 6)) ** 3
        best = max(
            ((0, a, b, 6) for a, b in itertools.combinations(range(1, 6), 2)),
            key=lambda e: sum(np.log(weights[0, u, e[u] : e[u + 1]]).sum() for u in range(3)),
        )
        for u, span in enumerate(attention_align(weights)):
            own = weights[0, u, best[u] : best[u + 1]]
            strong = np.flatnonzero(own >= own.max() / 2) + best[u]
            assert span == (strong[0], strong[-1] + 1)


def test_the_head_that_moves_through_the_sound_decides():
    walks = np.full((4, 20), 0.01)
    for u in range(4):
        walks[u, 5 * u + 1 : 5 * u + 4] = 0.3
    flat, back = np.full((4, 20), 0.05), walks[::-1]
    assert attention_align(np.stack([flat, back, walks, flat])) == [(5 * u + 1, 5 * u + 4) for u in range(4)]


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
