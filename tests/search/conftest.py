from collections.abc import Callable, Sequence

import numpy as np
import pytest

from speech.search.beam import BeamOptions, Hypothesis, Scores, beam_search


def random_log_probs(seed: int, vocab: int, sharpness: float = 2.0) -> Callable[[int, Sequence[int]], np.ndarray]:
    """A model made of numbers: [V] by utterance and tokens so far."""

    def log_probs(utterance: int, prefix: Sequence[int]) -> np.ndarray:
        rng = np.random.default_rng([seed, utterance, *[t + 1 for t in prefix]])
        x = sharpness * rng.normal(size=vocab)
        return (x - np.log(np.exp(x).sum())).astype(np.float32)

    return log_probs


def search_over(
    log_probs: Callable[[int, Sequence[int]], np.ndarray],
    options: BeamOptions,
    caps: Sequence[int],
    scorers=(),
    rules=(),
    utterances: Sequence[int] | None = None,
    calls: list[int] | None = None,
) -> list[list[Hypothesis]]:
    """Search over such a model; `calls` gets the rows of each step."""
    rows = [(u, ()) for u in (utterances if utterances is not None else range(len(caps)))]

    def step(tokens, parents, state):
        if calls is not None:
            calls.append(len(tokens))
        new = [(state[p][0], (*state[p][1], int(t))) for t, p in zip(tokens, parents, strict=True)]
        return Scores(np.stack([log_probs(*row) for row in new])), new

    first = Scores(np.stack([log_probs(*row) for row in rows]))
    return beam_search(step, first, rows, options, np.array(caps), rules, scorers)


@pytest.fixture(name="random_log_probs")
def _random_log_probs():
    return random_log_probs


@pytest.fixture(name="search_over")
def _search_over():
    return search_over
