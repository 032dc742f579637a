import numpy as np
import pytest

from speech.search.rules import max_repeats, suppress


def allowed(rule, history, ids=None, vocab=5):
    """Tokens each row may still take."""
    ids = np.broadcast_to(np.arange(vocab), (len(history), vocab)) if ids is None else np.array(ids)
    log_probs = np.zeros(ids.shape, np.float32)
    rule(history, log_probs, ids)
    assert set(np.unique(log_probs)) <= {0.0, -np.inf}
    return [sorted(ids[row][log_probs[row] == 0].tolist()) for row in range(len(history))]


def test_suppress_takes_the_tokens_away_in_every_row():
    assert allowed(suppress([3, 1]), [[], [2]]) == [[0, 2, 4]] * 2
    assert allowed(suppress([]), [[]]) == [[0, 1, 2, 3, 4]]
    assert allowed(suppress([3, 1]), [[], [2]], ids=[[1, 2, 3], [4, 3, 0]]) == [[2], [0, 4]]


@pytest.mark.parametrize(
    "limit, tokens, banned",
    [
        (3, [1, 1], []),  # a third is allowed
        (3, [1, 1, 1], [1]),  # a fourth is not
        (3, [2, 1, 1, 1], [1]),
        (3, [1, 1, 2, 1, 1], []),
        (1, [1], [1]),
        (2, [1, 2, 1, 2], []),  # twice, and a third begins
        (2, [1, 2, 1, 2, 1], [2]),  # the third would end
        (2, [3, 1, 2, 1, 2, 1], [2]),
        (2, [2, 1, 2, 3, 1], []),
        (2, [1, 2, 3] * 2 + [1, 2], [3]),
        (2, [1, 2, 3, 4] * 2 + [1, 2, 3], [4]),
        (2, [1, 2, 3, 4, 2] * 2 + [1, 2, 3, 4], []),  # blocks of five are not watched
        (2, [1, 1, 2, 1, 1, 2, 1, 1], [1, 2]),  # neither a third 1 nor a third block
        (2, [], []),
    ],
)
def test_a_block_stands_at_most_limit_times(limit, tokens, banned):
    assert allowed(max_repeats(limit), [tokens]) == [[t for t in range(5) if t not in banned]]


@pytest.mark.parametrize(
    "tokens, banned",
    [
        ([1] * 5, []),  # more than the 2 of a block
        ([1] * 6, [1]),
        ([2, 1, 1, 1, 1, 1, 1], [1]),
        ([1, 2, 1, 2, 1], [2]),
        ([1, 1, 2, 1, 1, 2, 1, 1], [2]),  # a block with a repetition inside
        ([1, 2, 1, 2] * 2 + [1, 2, 1], [2]),
        ([2, 1, 1, 2, 1, 1, 2, 1], [1]),  # a block that ends as it begins
        ([1, 2, 3, 4, 2, 3, 3, 4] * 2 + [1, 2, 3, 4, 2, 3, 3], [4]),
        ([3, 1, 2, 3, 4, 2, 3, 3, 4] * 2 + [3, 1, 2, 3, 4, 2, 3, 3], []),  # nine
    ],
)
def test_one_token_alone_may_stand_more_often(tokens, banned):
    assert allowed(max_repeats(2, longest=8, single=6), [tokens]) == [[t for t in range(5) if t not in banned]]


def test_repeats_are_counted_in_each_row_and_in_any_order_of_columns():
    assert allowed(max_repeats(2), [[1, 1], [1, 2], [2, 2]], ids=[[2, 1, 0]] * 3) == [[0, 2], [0, 1, 2], [0, 1]]
