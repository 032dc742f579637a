"""Beam search over a step function, in numpy: the same code over torch, ONNX Runtime or a table.

Size 1 is greedy: it ends where the end is the likeliest token.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

Item = TypeVar("Item")


class Scores(NamedTuple):
    log_probs: np.ndarray  # [N, C] float32
    ids: np.ndarray | None = None  # [N, C] token of each column; None: column == token
    attention: np.ndarray | None = None  # [N, S] cross-attention of this step, when coverage is used


Step = Callable[[np.ndarray, np.ndarray, Any], tuple[Scores, Any]]
"""tokens [N], parents [N] (row of the previous call that each row continues), state -> scores, state."""
Rule = Callable[[list[list[int]], np.ndarray, np.ndarray], None]
"""Edits log_probs [N, C] in place, given the tokens of each row so far and the token of each column [N, C]."""


class Scorer(Protocol):
    """Adds to what hypotheses are ranked by, never to the model's log-probabilities."""

    most: float
    """no token raises a hypothesis by more, its log-probability included: 0 where none can raise it"""

    def __call__(
        self, history: list[list[int]], utterances: np.ndarray, log_probs: np.ndarray, ids: np.ndarray
    ) -> np.ndarray:
        """Tokens and utterance [N] of each row, log_probs [N, C] after the rules, ids [N, C] -> bonus [N, C] float64,
        finite or -inf. A text that is cut off asks for the bonus of eos at a log-probability of 0."""
        ...


def memory_rows(utterance: np.ndarray) -> np.ndarray:
    """[N] utterance of each row of a step -> [M] that of each row of memory: neighbours share one where all groups are
    equally large."""
    first = utterance[np.append(True, utterance[1:] != utterance[:-1])]
    shared = np.array_equal(first.repeat(len(utterance) // len(first)), utterance)
    return first if shared else utterance


@dataclass(frozen=True)
class BeamOptions:
    eos: int
    size: int = 1
    n_best: int = 1
    length_penalty: float = 0.6
    """alpha of ((5 + len) / 6)^alpha, len = text tokens and eos (arXiv 1609.08144 section 7)"""
    length_offset: int = 0
    """added to len: Canary counts the prompt"""
    coverage_penalty: float = 0.0
    """beta of the same section; the step must give attention"""
    temperature: float = 1.0
    """divides the log-probabilities, which are then normalised anew: the step must give every token"""
    eos_penalty: float = 1.0
    """multiplies the log-probability of eos: below 1 makes ending easier"""
    ended_stay: bool = False
    """an ended hypothesis keeps its place in the beam until others push it out, and the search ends when all have ended
    (FireRedASR, Canary); else it leaves the beam to the others and counts among the n best"""
    rank_normalised: bool = False
    """with ended_stay, hypotheses compete by the normalised score (Canary), not by the log-probability (FireRedASR)"""

    def __post_init__(self) -> None:
        assert 1 <= self.n_best <= self.size and self.temperature > 0 and self.eos_penalty > 0


@dataclass(frozen=True)
class Hypothesis:
    tokens: list[int]
    score: float
    """normalised, bonuses included; what hypotheses are ranked by"""
    log_prob: float
    """the model's own, as are those of the tokens"""
    token_log_probs: list[float]
    finished: bool
    """False when it hit the cap without eos"""


@dataclass
class _Row:
    tokens: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    log_prob: float = 0.0
    total: float = 0.0  # with the bonuses
    coverage: np.ndarray | float = 0.0  # [S] sum of the attention

    def extend(self, token: int, log_prob: float, total: float, attention: np.ndarray | float) -> "_Row":
        tokens, log_probs = [*self.tokens, token], [*self.log_probs, log_prob]
        return _Row(tokens, log_probs, self.log_prob + log_prob, total, self.coverage + attention)


def length_norm(length: int, alpha: float) -> float:
    return ((5 + length) / 6) ** alpha


def _best(values: np.ndarray, count: int) -> np.ndarray:
    """Places of the `count` greatest values, greatest first, the earlier of two equals first."""
    if count < len(values):
        places = np.sort(np.argpartition(-values, count)[:count])
        return places[np.argsort(-values[places], kind="stable")]
    return np.argsort(-values, kind="stable")


def coverage_score(coverage: np.ndarray | float, beta: float) -> float:
    """beta x sum over frames of log(min(attention received, 1)). Frames of weight zero are padding."""
    received = np.asarray(coverage)
    return beta * float(np.log(np.clip(received[received > 0], 1e-10, 1.0)).sum())


class _Utterance:
    """The hypotheses of one utterance: `live` rows in step order and the finished ones."""

    def __init__(self, options: BeamOptions, max_tokens: int, scorers: Sequence[Scorer], place: int):
        self.options, self.cap = options, max_tokens
        self.scorers, self.place = scorers, place
        self.live: list[_Row] = [_Row()]
        self.ended: list[_Row] = []  # in the beam, with ended_stay
        self.done: list[Hypothesis] = []

    def _norm(self, length: int) -> float:
        return length_norm(length + self.options.length_offset, self.options.length_penalty)

    def _finish(self, row: _Row, finished: bool) -> None:
        tokens = row.tokens[:-1] if finished else row.tokens
        # with ended_stay a text that was cut off counts an eos too, as its families do
        score = row.total / self._norm(len(tokens) + 1 if self.options.ended_stay else len(row.tokens))
        score += coverage_score(row.coverage, self.options.coverage_penalty)
        self.done.append(Hypothesis(tokens, score, row.log_prob, row.log_probs, finished))
        self.done.sort(key=lambda h: -h.score)
        del self.done[self.options.n_best :]

    def _cut(self, rows: list[_Row]) -> None:
        """Finish rows without eos, with the bonuses that it would have had."""
        if not rows:
            return
        history, places = [row.tokens for row in rows], np.full(len(rows), self.place)
        log_probs, eos = np.zeros((len(rows), 1), np.float32), np.full((len(rows), 1), self.options.eos)
        totals = np.array([row.total for row in rows])
        for scorer in self.scorers:
            totals += scorer(history, places, log_probs, eos)[:, 0]
        for row, total in zip(rows, totals.tolist(), strict=True):
            self._finish(replace(row, total=total), False)

    def advance(self, totals: np.ndarray, log_probs: np.ndarray, ids: np.ndarray, attention: np.ndarray) -> list[int]:
        """Take the best `size` continuations of the live rows, all [R, C], attention [R, S]; returns the parent row of
        each new one."""
        o, count = self.options, totals.size
        values = np.append(totals, [row.total for row in self.ended])
        if o.rank_normalised:
            values[:count] /= self._norm(len(self.live[0].tokens) + 1)
            values[count:] /= [self._norm(len(row.tokens)) for row in self.ended]
        rows: list[_Row] = []
        parents: list[int] = []
        stay: list[_Row] = []
        # an end that leaves the beam gives its place to another, and a row has one: twice as many fill it again
        for at in _best(values, o.size if o.ended_stay else 2 * o.size):
            if values[at] == -np.inf or len(rows) == o.size:
                break
            if at >= count:
                stay.append(self.ended[at - count])
                continue
            r, c = divmod(int(at), totals.shape[1])
            new = self.live[r].extend(int(ids[r, c]), float(log_probs[r, c]), float(totals[r, c]), attention[r])
            if new.tokens[-1] != o.eos:
                rows.append(new)
                parents.append(r)
            elif o.ended_stay:
                stay.append(new)
            else:
                self._finish(new, True)
        if not rows or len(rows[0].tokens) >= self.cap:
            stuck = not (rows or stay or self.done)  # the rules forbid every continuation: what there is stands
            for row in stay:
                self._finish(row, True)
            self._cut(self.live if stuck else rows)
            rows = []
        self.live, self.ended = rows, stay
        if rows and not o.ended_stay and self._settled():
            self.live = []
        return parents if self.live else []

    def _settled(self) -> bool:
        """True when no live row can still beat the worst hypothesis that would be returned.

        Without bonuses a row only falls, and the greatest length it can reach gives the mildest normalisation. With
        them it may rise by `most` a token, and any length may be the best. Greedy takes the end where it is the best.
        """
        o = self.options
        if o.size == 1 and self.done:
            return True
        if len(self.done) < o.n_best:
            return False
        best_live = max(row.total for row in self.live)
        most, length = sum(scorer.most for scorer in self.scorers), len(self.live[0].tokens)
        lengths = range(length + 1, self.cap + 1) if most else (length + 1, self.cap)
        bound = max((best_live + most * (n - length)) / self._norm(n) for n in lengths)
        return bound <= self.done[o.n_best - 1].score


def _prepare(scores: Scores, history: list[list[int]], options: BeamOptions, rules: Sequence[Rule]):
    assert not options.coverage_penalty or (scores.attention is not None and not options.ended_stay)
    log_probs = scores.log_probs.astype(np.float32, copy=True)
    if options.temperature != 1.0:
        assert scores.ids is None
        log_probs /= options.temperature
        peak = log_probs.max(1, keepdims=True)
        log_probs -= peak + np.log(np.exp(log_probs - peak).sum(1, keepdims=True))
    ids = scores.ids if scores.ids is not None else np.broadcast_to(np.arange(log_probs.shape[1]), log_probs.shape)
    if options.eos_penalty != 1.0:
        log_probs[ids == options.eos] *= options.eos_penalty
    for rule in rules:
        rule(history, log_probs, ids)
    return log_probs, ids


def _filled(rows: list[Item], width: int) -> list[Item]:
    """Fewer continuations than the beam is wide: the first is repeated."""
    return rows + rows[:1] * (width - len(rows))


def beam_search(
    step: Step,
    first: Scores,
    state: Any,
    options: BeamOptions,
    max_tokens: np.ndarray,
    rules: Sequence[Rule] = (),
    scorers: Sequence[Scorer] = (),
) -> list[list[Hypothesis]]:
    """The n best hypotheses of every utterance, best first.

    `first` holds the scores after the prompt, a row per utterance, as does `state`. Every later call carries `size`
    rows per utterance still searched, utterance by utterance; the result of one does not depend on the others.
    Rules and scorers see the rows of the step.
    """
    assert all(cap >= 1 for cap in max_tokens)
    utterances = [_Utterance(options, int(cap), scorers, place) for place, cap in enumerate(max_tokens)]
    active, rows, width, scores = list(range(len(utterances))), [u.live[0] for u in utterances], 1, first
    while active:
        history, owners = [row.tokens for row in rows], np.repeat(active, width)
        log_probs, ids = _prepare(scores, history, options, rules)
        totals = np.array([row.total for row in rows])[:, None] + log_probs
        for scorer in scorers:
            totals += scorer(history, owners, log_probs, ids)
        attention = scores.attention if scores.attention is not None else np.zeros((len(rows), 0))
        parents: list[int] = []
        for place, u in enumerate(active):
            base = place * width
            part = slice(base, base + len(utterances[u].live))
            chosen = utterances[u].advance(totals[part], log_probs[part], ids[part], attention[part])
            parents += [base + r for r in _filled(chosen, options.size)]
        active, width = [u for u in active if utterances[u].live], options.size
        rows = [row for u in active for row in _filled(utterances[u].live, width)]
        if rows:
            tokens = np.array([row.tokens[-1] for row in rows])
            scores, state = step(tokens, np.array(parents), state)
    return [u.done for u in utterances]
