"""What a search promises to scorers, shown with ones made of numbers."""

import itertools
from collections import defaultdict

import numpy as np
import pytest

from speech.search.beam import BeamOptions
from speech.search.rules import suppress

EOS = 0


class Numbers:
    """A bonus of its own for every text and token, up to `most`."""

    def __init__(self, seed=0, most=1.5, least=-1.5, vocab=4):
        self.seed, self.most, self.least, self.vocab = seed, most, least, vocab

    def of(self, utterance, prefix):
        rng = np.random.default_rng([self.seed, 7, utterance, *[t + 1 for t in prefix]])
        return rng.uniform(self.least, self.most, self.vocab)

    def __call__(self, history, utterances, log_probs, ids):
        rows = zip(history, utterances, ids, strict=True)
        return np.stack([self.of(int(u), tokens)[columns] for tokens, u, columns in rows])


class Known(Numbers):
    """The bonuses given, else none."""

    def __init__(self, bonuses, vocab, most):
        self.bonuses, self.vocab, self.most = bonuses, vocab, most

    def of(self, utterance, prefix):
        return np.array([self.bonuses.get((*prefix, token), 0.0) for token in range(self.vocab)])


def enumerate_all(log_probs, scorer, cap, alpha, vocab, stay=False):
    """(score, tokens, finished, log_prob) of every text of up to `cap` tokens with eos, best first."""
    found = []
    for length in range(cap + 1):
        for text in itertools.product(range(1, vocab), repeat=length):
            own = [float(log_probs(0, text[:i])[t]) for i, t in enumerate(text)]
            bonus = [float(scorer.of(0, text[:i])[t]) for i, t in enumerate(text)]
            end = float(scorer.of(0, text)[EOS])
            if length < cap:
                own.append(float(log_probs(0, text)[EOS]))
            count = length + 1 if length < cap or stay else length  # a text cut off has the bonus of the end too
            score = (sum(own) + sum(bonus) + end) / ((5 + count) / 6) ** alpha
            found.append((score, list(text), length < cap, sum(own)))
    return sorted(found, key=lambda x: -x[0])


def test_a_bonus_changes_the_order_and_not_the_probabilities(search_over):
    probs = {(): [0.1, 0.6, 0.3], (1,): [0.9, 0.05, 0.05], (2,): [0.8, 0.1, 0.1]}

    def log_probs(utterance, prefix):
        return np.log(np.array(probs[prefix], np.float32))

    options = BeamOptions(EOS, size=2, n_best=2, length_penalty=0.0)
    assert [h.tokens for h in search_over(log_probs, options, [2])[0]] == [[1], [2]]
    scorer = Known({(2,): 1.0, (2, EOS): 0.5}, vocab=3, most=1.0)
    best, second = search_over(log_probs, options, [2], [scorer])[0]
    assert (best.tokens, second.tokens) == ([2], [1])
    assert best.score == pytest.approx(np.log(0.3 * 0.8) + 1.5)
    assert best.log_prob == pytest.approx(np.log(0.3 * 0.8))
    assert best.token_log_probs == pytest.approx(np.log([0.3, 0.8]))
    assert second.score == pytest.approx(np.log(0.6 * 0.9))
    [[greedy]] = search_over(log_probs, BeamOptions(EOS), [2], [scorer])
    assert greedy.tokens == [2]


@pytest.mark.parametrize("alpha", [-0.5, 0.0, 0.6, 1.0, 2.5])
@pytest.mark.parametrize("n_best", [1, 3])
def test_a_beam_as_wide_as_the_tree_finds_what_enumeration_finds(alpha, n_best, search_over, random_log_probs):
    for seed, (least, most) in itertools.product(range(4), [(-2.0, 2.0), (-2.0, 0.0), (-1.0, 0.3)]):
        log_probs, scorer = random_log_probs(seed, 4), Numbers(seed, most, least)
        expected = enumerate_all(log_probs, scorer, 3, alpha, 4)[:n_best]
        options = BeamOptions(EOS, size=30, n_best=n_best, length_penalty=alpha)
        [found] = search_over(log_probs, options, [3], [scorer])
        assert [(h.tokens, h.finished) for h in found] == [(text, finished) for _, text, finished, _ in expected]
        assert [h.score for h in found] == pytest.approx([score for score, *_ in expected])
        assert [h.log_prob for h in found] == pytest.approx([own for *_, own in expected])


@pytest.mark.parametrize("rank_normalised", [False, True])
def test_so_does_one_where_ended_hypotheses_stay(rank_normalised, search_over, random_log_probs):
    for seed in range(4):
        log_probs, scorer = random_log_probs(seed, 4), Numbers(seed)
        options = BeamOptions(
            EOS, size=45, n_best=5, length_penalty=0.6, ended_stay=True, rank_normalised=rank_normalised
        )
        [found] = search_over(log_probs, options, [3], [scorer])
        expected = enumerate_all(log_probs, scorer, 3, 0.6, 4, stay=True)[:5]
        assert [h.tokens for h in found] == [text for _, text, *_ in expected]
        assert [h.score for h in found] == pytest.approx([score for score, *_ in expected])


def test_a_row_that_a_bonus_may_still_raise_is_waited_for(search_over):
    probs = defaultdict(lambda: [0.1, 0.9], {(): [0.9, 0.1]})

    def log_probs(utterance, prefix):
        return np.log(np.array(probs[prefix], np.float32))

    options, steps = BeamOptions(EOS, size=2, length_penalty=0.0), []
    [[best]] = search_over(log_probs, options, [6], [Known({(1, 1, 1, 1): 9.0}, vocab=2, most=9.0)], calls=steps)
    assert best.tokens[:4] == [1, 1, 1, 1] and len(steps) == 5
    steps.clear()
    [[best]] = search_over(log_probs, options, [6], [Known({}, vocab=2, most=0.0)], calls=steps)
    assert best.tokens == [] and not steps, "nothing can raise a row: settled at once"


def test_the_best_length_may_be_any_where_bonuses_grow(search_over):
    """After one token: (2.3 + 3 (n - 1)) / ((5 + n) / 6)^2 is 3.9 for n = 2, 5.1 for n = 5 and 3.4 for n = 20."""
    probs = {(): [0.5, 0.5], **{(1,) * n: [0.01, 0.99] for n in (1, 2, 3)}}

    def log_probs(utterance, prefix):
        return np.log(np.array(probs.get(prefix, [0.99, 0.01]), np.float32))

    bonuses = {(EOS,): 3.95 + np.log(2), **{(1,) * n: 3.0 for n in (1, 2, 3, 4)}}
    options = BeamOptions(EOS, size=2, length_penalty=2.0)
    [[best]] = search_over(log_probs, options, [20], [Known(bonuses, vocab=2, most=3.0)])
    assert best.tokens == [1, 1, 1, 1] and best.score == pytest.approx(4.05, abs=0.03)


def test_scorers_add_up_and_see_what_the_rules_left(search_over, random_log_probs):
    log_probs = random_log_probs(3, 4)
    seen = []

    class Watching(Numbers):
        def __call__(self, history, utterances, log_probs, ids):
            seen.append(log_probs[:, 2])
            return super().__call__(history, utterances, log_probs, ids)

    both = [Watching(1), Numbers(2)]
    options = BeamOptions(EOS, size=4, length_penalty=0.0)
    [[best]] = search_over(log_probs, options, [5], both, [suppress([2])])
    path = [*best.tokens, EOS]
    bonus = sum(s.of(0, path[:i])[t] for s in both for i, t in enumerate(path))
    assert best.score == pytest.approx(best.log_prob + bonus)
    assert 2 not in best.tokens
    assert all((column == -np.inf).all() or column.tolist() == [0.0] for column in seen)


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("stay", [False, True])
def test_batch_of_n_equals_n_singles(size, stay, search_over, random_log_probs):
    class At(Numbers):
        """Knows the utterance by its place in the batch."""

        def __init__(self, places, **kwargs):
            super().__init__(**kwargs)
            self.places = places

        def __call__(self, history, utterances, log_probs, ids):
            return super().__call__(history, np.array(self.places)[utterances], log_probs, ids)

    options, caps = BeamOptions(EOS, size=size, n_best=size, ended_stay=stay), [6, 1, 9, 3, 12]
    for seed in range(6):
        log_probs = random_log_probs(seed, 5)
        together = search_over(log_probs, options, caps, [At(range(5), seed=seed, vocab=5)])
        alone = [
            search_over(log_probs, options, [cap], [At([u], seed=seed, vocab=5)], utterances=[u])[0]
            for u, cap in enumerate(caps)
        ]
        assert together == alone
