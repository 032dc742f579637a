import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from speech.search.beam import BeamOptions, Hypothesis, Scores, beam_search, coverage_score, length_norm

EOS = 0


class Table:
    """Log-probabilities by utterance and prefix. It follows the prefix of each row by the parents it is given."""

    def __init__(self, seed=0, vocab=4, known=None, columns=0, sharpness=2.0, attention=None):
        self.seed, self.vocab, self.known, self.columns = seed, vocab, known, columns
        self.sharpness, self.attention = sharpness, attention
        self.rows: list[tuple[int, tuple[int, ...]]] = []
        self.calls = 0

    def log_probs(self, utterance: int, prefix: Sequence[int]) -> np.ndarray:
        if self.known is not None:
            with np.errstate(divide="ignore"):
                return np.log(np.array(self.known[tuple(prefix)], np.float32))
        rng = np.random.default_rng([self.seed, utterance, *[t + 1 for t in prefix]])
        x = self.sharpness * rng.normal(size=self.vocab)
        return (x - np.log(np.exp(x).sum())).astype(np.float32)

    def _scores(self) -> Scores:
        scores = np.stack([self.log_probs(*row) for row in self.rows])
        attention = None
        if self.attention is not None:
            attention = np.stack([self.attention[len(prefix)] for _, prefix in self.rows])
        if not self.columns:
            return Scores(scores, attention=attention)
        ids = np.argsort(-scores, axis=1, kind="stable")[:, : self.columns]
        return Scores(np.take_along_axis(scores, ids, 1), ids, attention)

    def first(self, utterances: Sequence[int]) -> tuple[Scores, int]:
        self.rows = [(u, ()) for u in utterances]
        return self._scores(), self.calls

    def __call__(self, tokens: np.ndarray, parents: np.ndarray, state: int) -> tuple[Scores, int]:
        assert state == self.calls, "the state of the call before is handed back"
        assert parents.min() >= 0 and parents.max() < len(self.rows)
        self.calls += 1
        old = self.rows
        self.rows = [(old[p][0], (*old[p][1], int(t))) for t, p in zip(tokens, parents, strict=True)]
        assert all(EOS not in prefix for _, prefix in self.rows), "an ended row goes on"
        return self._scores(), self.calls


def search(
    table: Table, options: BeamOptions, caps: Sequence[int], utterances: Sequence[int] | None = None, rules=()
) -> list[list[Hypothesis]]:
    scores, state = table.first(range(len(caps)) if utterances is None else utterances)
    return beam_search(table, scores, state, options, np.array(caps), rules)


def enumerate_all(table: Table, cap: int, alpha: float, utterance=0) -> list[tuple[float, tuple[int, ...], bool]]:
    """(score, tokens, finished) of every sequence of at most `cap` tokens with eos, best first."""
    found, open_rows = [], [((), 0.0)]
    while open_rows:
        prefix, total = open_rows.pop()
        for token, log_prob in enumerate(table.log_probs(utterance, prefix)):
            score = (total + float(log_prob)) / ((5 + len(prefix) + 1) / 6) ** alpha
            if token == EOS:
                found.append((score, prefix, True))
            elif len(prefix) + 1 == cap:
                found.append((score, (*prefix, token), False))
            else:
                open_rows.append(((*prefix, token), total + float(log_prob)))
    return sorted(found, reverse=True)


#         eos   a    b         greedy takes a, after which everything is unlikely
GARDEN_PATH = {
    (): [0.0, 0.6, 0.4],
    (1,): [0.3, 0.35, 0.35],
    (2,): [0.9, 0.05, 0.05],
    (1, 1): [0.4, 0.3, 0.3],
    (1, 2): [0.4, 0.3, 0.3],
    (2, 1): [0.4, 0.3, 0.3],
    (2, 2): [0.4, 0.3, 0.3],
}


def test_greedy_walks_into_the_trap_and_a_beam_of_two_does_not():
    options = BeamOptions(EOS, size=1, length_penalty=0.0)
    [[greedy]] = search(Table(known=GARDEN_PATH), options, [3])
    assert greedy.tokens == [1, 1] and greedy.finished
    [[best]] = search(Table(known=GARDEN_PATH), BeamOptions(EOS, size=2, length_penalty=0.0), [3])
    assert best.tokens == [2] and best.finished
    assert best.log_prob == pytest.approx(-1.0216512)  # ln(0.4 x 0.9)
    assert best.token_log_probs == pytest.approx([-0.9162907, -0.1053605])  # ln 0.4, ln 0.9


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
def test_greedy_follows_the_argmax_and_ends_with_it(alpha):
    for seed in range(30):
        table, prefix = Table(seed), []
        while len(prefix) < 8 and (token := int(table.log_probs(0, prefix).argmax())) != EOS:
            prefix.append(token)
        [[found]] = search(table, BeamOptions(EOS, size=1, length_penalty=alpha), [8])
        assert (found.tokens, found.finished) == (prefix, len(prefix) < 8)


@pytest.mark.parametrize("alpha", [-0.5, 0.0, 0.6, 1.0, 2.5])
@pytest.mark.parametrize("n_best", [1, 3])
def test_a_beam_as_wide_as_the_tree_finds_what_enumeration_finds(alpha, n_best):
    cap, stopped_early = 5, 0
    for seed in range(8):
        table = Table(seed)
        expected = enumerate_all(table, cap, alpha)[:n_best]
        [found] = search(table, BeamOptions(EOS, size=250, n_best=n_best, length_penalty=alpha), [cap])
        assert [(tuple(h.tokens), h.finished) for h in found] == [tuple(rest) for _, *rest in expected]
        assert [h.score for h in found] == pytest.approx([score for score, *_ in expected])
        stopped_early += table.calls < cap - 1
    assert stopped_early > 0 or alpha > 1.0  # else the early stop is not under test


def test_every_hypothesis_of_a_wide_beam_comes_once_and_in_order():
    table = Table(seed=3, vocab=3)
    expected = enumerate_all(table, 4, 0.6)
    [found] = search(table, BeamOptions(EOS, size=40, n_best=40, length_penalty=0.6), [4])
    assert len(expected) == 1 + 2 + 4 + 8 + 16
    assert [(tuple(h.tokens), h.finished) for h in found] == [tuple(rest) for _, *rest in expected]
    assert [h.score for h in found] == pytest.approx([score for score, *_ in expected])


def test_a_longer_text_that_may_still_win_is_waited_for():
    # "" has ln 0.4 = -0.916 and "aaaa" ln 0.3 / (10/6) = -0.722, but as "a" it would have had ln 0.3 / (7/6) = -1.03
    known = defaultdict(lambda: [0.4, 0.3, 0.3], {(1,) * n: [0.0, 1.0, 0.0] for n in (1, 2, 3)})
    known[(1,) * 4] = [1.0, 0.0, 0.0]
    [[best]] = search(Table(known=known), BeamOptions(EOS, size=2, length_penalty=1.0), [5])
    assert best.tokens == [1, 1, 1, 1] and best.score == pytest.approx(-0.7223837)


def test_ended_rows_give_their_place_to_others():
    # step 2, by probability: "a" ends 0.25, "b" ends 0.25, "bb" 0.15, "aa" 0.135: all four are needed to find "aa"
    known = {(): [0.0, 0.5, 0.5], (1,): [0.5, 0.27, 0.23], (2,): [0.5, 0.2, 0.3]}
    known |= {(1, 1): [1.0, 0.0, 0.0], (2, 2): [0.1, 0.45, 0.45]}
    [[best]] = search(Table(known=known), BeamOptions(EOS, size=2, length_penalty=4.0), [3])
    assert best.tokens == [1, 1]
    assert best.score == pytest.approx(-2.0024805 / 3.1604938)  # ln 0.135 / (8/6)^4


def test_scores_belong_to_the_tokens():
    for seed in range(10):
        table = Table(seed, vocab=6)
        for hypothesis in search(table, BeamOptions(EOS, size=3, n_best=3), [7])[0]:
            path = [*hypothesis.tokens, EOS] if hypothesis.finished else hypothesis.tokens
            by_hand = [float(table.log_probs(0, path[:i])[token]) for i, token in enumerate(path)]
            assert hypothesis.token_log_probs == pytest.approx(by_hand)
            assert hypothesis.log_prob == pytest.approx(sum(by_hand))
            assert hypothesis.score == pytest.approx(sum(by_hand) / ((5 + len(path)) / 6) ** 0.6)


def test_an_end_at_once_is_an_empty_text():
    table = Table(known={(): [0.9, 0.1], (1,): [0.5, 0.5]})
    [[found]] = search(table, BeamOptions(EOS, size=2), [2])
    assert (found.tokens, found.finished) == ([], True)
    assert found.token_log_probs == pytest.approx([-0.1053605])  # ln 0.9


@pytest.mark.parametrize("size", [1, 3])
def test_each_utterance_has_its_own_cap(size):
    never_ends = defaultdict(lambda: [0.0, 0.9, 0.1])
    caps = [1, 5, 2, 8]
    found = search(Table(known=never_ends), BeamOptions(EOS, size=size), caps)
    assert [(h[0].tokens, h[0].finished) for h in found] == [([1] * cap, False) for cap in caps]


def test_length_penalty_by_hand():
    # ((5 + len) / 6) ^ 0.6 for len 1, 2, 7: 1, (7/6)^0.6, 2^0.6
    assert [length_norm(n, 0.6) for n in (1, 2, 7)] == pytest.approx([1.0, 1.0969034, 1.5157166])
    assert length_norm(30, 0.0) == 1.0
    # texts "a" and "" : ln(0.5 x 0.5) / (7/6)^alpha against ln 0.4
    known = {(): [0.4, 0.6], (1,): [0.5, 0.5]}
    short, long = -0.9162907, -1.2039728  # ln 0.4, ln(0.6 x 0.5)
    for alpha, winner, score in [(0.0, [], short), (1.0, [], short), (2.0, [1], long / 1.3611111)]:
        [[best]] = search(Table(known=known), BeamOptions(EOS, size=2, length_penalty=alpha), [2])
        assert (best.tokens, best.finished) == (winner, True)
        assert best.score == pytest.approx(score)


def test_coverage_penalty_by_hand():
    # frames received 0.8, 0.5 and 1.2: ln 0.8 + ln 0.5 + ln 1 = -0.2231436 - 0.6931472 + 0
    assert coverage_score(np.array([0.8, 0.5, 1.2]), 0.2) == pytest.approx(-0.1832581)
    assert coverage_score(np.array([0.8, 0.5, 1.2, 0.0, 0.0]), 0.2) == pytest.approx(-0.1832581)  # padding
    attention = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.1, 0.1, 0.8]], np.float32)
    known = {(): [0.5, 0.5], (1,): [0.8, 0.2], (1, 1): [0.9, 0.1]}
    for beta, winner, score in [
        (0.0, [], -0.6931472),  # ln 0.5
        # after one step 0.7, 0.2, 0.1: ln = -0.3566749 - 1.6094379 - 2.3025851 = -4.2686979
        # after two 0.8, 0.5, 0.7: ln = -0.2231436 - 0.6931472 - 0.3566749 = -1.2729657; "a" has ln(0.5 x 0.8)
        (0.2, [1], -0.9162907 - 0.2545931),
    ]:
        options = BeamOptions(EOS, size=2, length_penalty=0.0, coverage_penalty=beta)
        [[best]] = search(Table(known=known, attention=attention), options, [3])
        assert best.tokens == winner
        assert best.score == pytest.approx(score)


def test_coverage_adds_up_along_the_parents():
    """Each row attends to the frame of its own last token, so a wrong parent would give another coverage."""
    frames = 6

    class Attending(Table):
        def _scores(self):
            weights = [np.eye(frames)[prefix[-1]] * 0.9 if prefix else np.full(frames, 0.1) for _, prefix in self.rows]
            return super()._scores()._replace(attention=np.array(weights))

    for seed in range(5):
        options = BeamOptions(EOS, size=4, n_best=4, length_penalty=0.0, coverage_penalty=0.3)
        for found in search(Attending(seed, vocab=frames), options, [5])[0]:
            seen = np.full(frames, 0.1)
            for token in found.tokens if found.finished else found.tokens[:-1]:
                seen[token] += 0.9
            assert found.score == pytest.approx(found.log_prob + 0.3 * np.log(np.minimum(seen, 1)).sum())


def test_temperature_divides_the_logarithms():
    # 0.64 and 0.36 at temperature 2: square roots 0.8 and 0.6, normalised 0.5714286 and 0.4285714
    known = {(): [0.64, 0.36], (1,): [0.5, 0.5]}
    [[best]] = search(Table(known=known), BeamOptions(EOS, size=2, temperature=2.0, length_penalty=0.0), [2])
    assert best.tokens == [] and best.log_prob == pytest.approx(math.log(0.5714286), abs=1e-6)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_best_columns_are_enough(size):
    for seed in range(10):
        options = BeamOptions(EOS, size=size, n_best=size)
        whole = search(Table(seed, vocab=30), options, [6, 4])
        # a row gives at most 2 x size candidates to the beam
        assert search(Table(seed, vocab=30, columns=2 * size), options, [6, 4]) == whole


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_batch_of_n_equals_n_singles(size, alpha):
    options, caps = BeamOptions(EOS, size=size, n_best=size, length_penalty=alpha), [6, 1, 9, 3, 6, 12]
    for seed in range(6):
        together = search(Table(seed, vocab=5), options, caps)
        alone = [search(Table(seed, vocab=5), options, [cap], [u])[0] for u, cap in enumerate(caps)]
        assert together == alone
        assert len({len(h[0].tokens) for h in together}) > 1


def test_rows_of_the_step_are_the_rows_of_the_rules():
    """`size` rows per utterance still searched; rule and step see the same prefixes."""
    table, seen = Table(seed=1, vocab=3), []  # two words cannot fill three rows at first

    def rule(history, log_probs, ids):
        utterances = [u for u, _ in table.rows]
        width = utterances.count(utterances[0])
        assert utterances == [u for u in dict.fromkeys(utterances) for _ in range(width)]
        assert all(tuple(tokens) in ((), prefix) for tokens, (_, prefix) in zip(history, table.rows, strict=True))
        assert all(history[i] == list(table.rows[i][1]) for i in range(0, len(history), width))
        seen.append((width, len(set(utterances))))

    search(table, BeamOptions(EOS, size=3), [3, 6, 4], rules=[rule])
    assert seen[0] == (1, 3) and {width for width, _ in seen[1:]} == {3}
    assert [count for _, count in seen] == sorted((count for _, count in seen), reverse=True)
    assert seen[-1][1] < 3


def test_no_rows_are_computed_past_the_end():
    table = Table(known={(): [0.99, 0.01], (1,): [0.5, 0.5]})
    search(table, BeamOptions(EOS, size=1), [50])
    assert table.calls == 0
    assert beam_search(table, Scores(np.zeros((0, 2), np.float32)), None, BeamOptions(EOS), np.zeros(0, int)) == []


def test_when_the_rules_forbid_everything_the_text_so_far_stands():
    def nothing_after_two(history, log_probs, ids):
        for row, tokens in enumerate(history):
            if len(tokens) == 2:
                log_probs[row] = -np.inf

    def no_end(history, log_probs, ids):
        log_probs[ids == EOS] = -np.inf

    for size in (1, 3):
        [[found]] = search(Table(seed=2), BeamOptions(EOS, size=size), [9], rules=[no_end, nothing_after_two])
        assert len(found.tokens) == 2 and not found.finished


def test_an_ended_hypothesis_can_keep_its_place():
    # "" 0.4 ends at once and "a" 0.35 goes on; "b" 0.25 would be 0.245 at its end, but has no place
    known = {(): [0.4, 0.35, 0.25], (1,): [0.9, 0.05, 0.05], (2,): [0.98, 0.01, 0.01]}
    leave, stay = BeamOptions(EOS, size=2, n_best=2), BeamOptions(EOS, size=2, n_best=2, ended_stay=True)
    assert [h.tokens for h in search(Table(known=known), replace(leave, length_penalty=0.0), [3])[0]] == [[], [1]]
    wide = replace(stay, size=3, n_best=3, length_penalty=0.0)
    assert [h.tokens for h in search(Table(known=known), wide, [3])[0]] == [[], [1], [2]]
    table = Table(known=known)
    [found] = search(table, replace(stay, length_penalty=0.0), [3])
    assert [h.tokens for h in found] == [[], [1]] and all(h.finished for h in found)


def test_better_continuations_push_an_ended_hypothesis_out():
    known = {(): [0.3, 0.7, 0.0], (1,): [0.0, 0.5, 0.5], (1, 1): [1.0, 0.0, 0.0], (1, 2): [1.0, 0.0, 0.0]}
    stay = BeamOptions(EOS, size=2, n_best=2, length_penalty=0.0, ended_stay=True)
    assert [h.tokens for h in search(Table(known=known), stay, [4])[0]] == [[1, 1], [1, 2]], "0.35 each, more than 0.3"
    kept = replace(stay, ended_stay=False)
    assert [h.tokens for h in search(Table(known=known), replace(kept, size=3, n_best=3), [4])[0]][2] == []


def test_competing_by_the_normalised_score_prefers_longer_texts():
    # step 2: "" has ln 0.5 = -0.69; "aa" and "ab" have ln 0.25 = -1.39, over (7/6)^6 only -0.55
    known = {(): [0.5, 0.5, 0.0], (1,): [0.0, 0.5, 0.5], (1, 1): [1.0, 0.0, 0.0], (1, 2): [1.0, 0.0, 0.0]}
    by_sum = BeamOptions(EOS, size=2, n_best=2, length_penalty=6.0, ended_stay=True)
    assert [h.tokens for h in search(Table(known=known), by_sum, [4])[0]] == [[1, 1], []]
    [found] = search(Table(known=known), replace(by_sum, rank_normalised=True), [4])
    assert [h.tokens for h in found] == [[1, 1], [1, 2]]


def test_a_text_cut_off_counts_an_eos_where_ended_ones_stay():
    known = defaultdict(lambda: [0.0, 0.9, 0.1])
    [[cut]] = search(Table(known=known), BeamOptions(EOS, size=1, length_penalty=0.6, ended_stay=True), [4])
    assert not cut.finished and cut.score == pytest.approx(4 * math.log(0.9) / (10 / 6) ** 0.6)
    [[offset]] = search(Table(known=known), BeamOptions(EOS, length_penalty=0.6, ended_stay=True, length_offset=5), [4])
    assert offset.score == pytest.approx(4 * math.log(0.9) / (15 / 6) ** 0.6)


def test_the_eos_penalty_multiplies_its_log_probability():
    known = {(): [0.4, 0.6], (1,): [0.5, 0.5]}
    [[best]] = search(Table(known=known), BeamOptions(EOS, eos_penalty=0.5), [3])
    assert best.tokens == [] and best.log_prob == pytest.approx(0.5 * math.log(0.4)), "sqrt(0.4) = 0.63 beats 0.6"
