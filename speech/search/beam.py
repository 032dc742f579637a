"""Beam search over a step function, in numpy: the same code over torch, ONNX Runtime or a table.

Size 1 is greedy: it ends where the end is the likeliest token.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

NEVER = np.float32(-np.inf)


class Scores(NamedTuple):
    log_probs: np.ndarray  # [N, C] float32
    ids: np.ndarray | None = None  # [N, C] token of each column; None: column == token
    attention: np.ndarray | None = None  # [N, S] cross-attention of this step, when coverage is used


Step = Callable[[np.ndarray, np.ndarray, Any], tuple[Scores, Any]]
"""tokens [N], parents [N] (row of the previous call that each row continues), state -> scores, state."""
Rule = Callable[[list[list[int]], np.ndarray, np.ndarray], None]
"""Edits log_probs [N, C] in place, given the tokens of each row so far and the token of each column [N, C]."""


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
    """normalised; what hypotheses are ranked by"""
    log_prob: float
    token_log_probs: list[float]
    finished: bool
    """False when it hit the cap without eos"""


@dataclass
class _Row:
    tokens: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    total: float = 0.0
    coverage: np.ndarray | None = None

    def extend(self, token: int, log_prob: float, coverage: np.ndarray | None) -> "_Row":
        return _Row([*self.tokens, token], [*self.log_probs, log_prob], self.total + log_prob, coverage)


def length_norm(length: int, alpha: float) -> float:
    return ((5 + length) / 6) ** alpha


def _best(values: np.ndarray, count: int) -> np.ndarray:
    """Places of the `count` greatest values, greatest first, the earlier of two equals first."""
    if count < len(values):
        places = np.sort(np.argpartition(-values, count)[:count])
        return places[np.argsort(-values[places], kind="stable")]
    return np.argsort(-values, kind="stable")


def coverage_score(coverage: np.ndarray, beta: float) -> float:
    """beta x sum over frames of log(min(attention received, 1)). Frames of weight zero are padding."""
    return beta * float(np.log(np.clip(coverage[coverage > 0], 1e-10, 1.0)).sum())


class _Utterance:
    """The hypotheses of one utterance: `live` rows in step order and the finished ones."""

    def __init__(self, options: BeamOptions, max_tokens: int):
        self.options, self.cap = options, max_tokens
        self.live: list[_Row] = [_Row()]
        self.ended: list[_Row] = []  # in the beam, with ended_stay
        self.done: list[Hypothesis] = []

    def _norm(self, length: int) -> float:
        return length_norm(length + self.options.length_offset, self.options.length_penalty)

    def _finish(self, row: _Row, finished: bool) -> None:
        o = self.options
        tokens = row.tokens[:-1] if finished else row.tokens
        # with ended_stay a text that was cut off counts an eos too, as its families do
        score = row.total / self._norm(len(tokens) + 1 if o.ended_stay else len(row.tokens))
        if o.coverage_penalty and row.coverage is not None:
            score += coverage_score(row.coverage, o.coverage_penalty)
        self.done.append(Hypothesis(tokens, score, row.total, row.log_probs, finished))
        self.done.sort(key=lambda h: -h.score)
        del self.done[o.n_best :]

    def advance(self, log_probs: np.ndarray, ids: np.ndarray, attention: np.ndarray | None) -> list[int]:
        """Take the best `size` continuations of the live rows [R, C]; returns the parent row of each new one."""
        o = self.options
        totals = np.array([row.total for row in self.live])[:, None] + log_probs.astype(np.float64)
        flat = totals.ravel()
        if o.ended_stay:
            return self._compete(flat, log_probs, ids)
        rows: list[_Row] = []
        parents: list[int] = []
        for at in _best(flat, 2 * o.size):  # an end leaves the beam and a row has one: that many fill it again
            if flat[at] == -np.inf or len(rows) == o.size:
                break
            r, c = divmod(int(at), totals.shape[1])
            token, old = int(ids[r, c]), self.live[r]
            coverage = None
            if attention is not None:
                coverage = attention[r] if old.coverage is None else old.coverage + attention[r]
            new = old.extend(token, float(log_probs[r, c]), coverage)
            if token != o.eos:
                rows.append(new)
                parents.append(r)
            else:
                self._finish(new, True)
        stuck = not rows and not self.done  # the rules forbid every continuation: what there is stands
        if stuck or (rows and len(rows[0].tokens) >= self.cap):
            for row in rows or self.live:
                self._finish(row, False)
            rows = []
        self.live = rows
        if rows and self._settled():
            self.live = []
        return parents if self.live else []

    def _compete(self, flat: np.ndarray, log_probs: np.ndarray, ids: np.ndarray) -> list[int]:
        """`advance` with the ended hypotheses as candidates for the `size` places."""
        o = self.options
        if o.rank_normalised:
            ended = [row.total / self._norm(len(row.tokens)) for row in self.ended]
            values = np.concatenate([flat / self._norm(len(self.live[0].tokens) + 1), ended])
        else:
            values = np.concatenate([flat, [row.total for row in self.ended]])
        rows: list[_Row] = []
        parents: list[int] = []
        stay: list[_Row] = []
        for at in _best(values, o.size):
            if values[at] == -np.inf:
                break
            if at >= len(flat):
                stay.append(self.ended[at - len(flat)])
                continue
            r, c = divmod(int(at), log_probs.shape[1])
            new = self.live[r].extend(int(ids[r, c]), float(log_probs[r, c]), None)
            if new.tokens[-1] == o.eos:
                stay.append(new)
            else:
                rows.append(new)
                parents.append(r)
        stuck = not rows and not stay
        self.ended = stay
        if not rows or len(rows[0].tokens) >= self.cap:
            for row in self.ended:
                self._finish(row, True)
            for row in self.live if stuck else rows:
                self._finish(row, False)
            rows = []
        self.live = rows
        return parents if rows else []

    def _settled(self) -> bool:
        """True when no live row can still beat the worst hypothesis that would be returned.

        A row's log-probability only falls, and the greatest length it can reach gives the mildest normalisation.
        """
        o = self.options
        if o.size == 1 and self.done:
            return True
        if len(self.done) < o.n_best:
            return False
        best_live = max(row.total for row in self.live)
        lengths = (len(self.live[0].tokens) + 1, self.cap)
        bound = max(best_live / self._norm(n) for n in lengths)
        return bound <= self.done[o.n_best - 1].score


def _prepare(scores: Scores, rows: list[_Row], options: BeamOptions, rules: Sequence[Rule]):
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
    history = [row.tokens for row in rows]
    for rule in rules:
        rule(history, log_probs, ids)
    return log_probs, ids


def beam_search(
    step: Step, first: Scores, state: Any, options: BeamOptions, max_tokens: np.ndarray, rules: Sequence[Rule] = ()
) -> list[list[Hypothesis]]:
    """The n best hypotheses of every utterance, best first.

    `first` holds the scores after the prompt, a row per utterance, as does `state`. Every later call carries `size`
    rows per utterance still searched, utterance by utterance; the result of one does not depend on the others.
    """
    assert all(cap >= 1 for cap in max_tokens)
    utterances = [_Utterance(options, int(cap)) for cap in max_tokens]
    active, width, scores = list(range(len(utterances))), 1, first
    while active:
        rows = [row for u in active for row in (utterances[u].live + [_Row()] * (width - len(utterances[u].live)))]
        log_probs, ids = _prepare(scores, rows, options, rules)
        tokens: list[int] = []
        parents: list[int] = []
        still: list[int] = []
        for place, u in enumerate(active):
            utterance, base = utterances[u], place * width
            part = slice(base, base + len(utterance.live))
            attention = scores.attention[part] if scores.attention is not None else None
            chosen = utterance.advance(log_probs[part], ids[part], attention)
            if not chosen:
                continue
            still.append(u)
            fill = options.size - len(chosen)  # fewer continuations than the beam is wide: repeat the first row
            tokens += [row.tokens[-1] for row in utterance.live] + [utterance.live[0].tokens[-1]] * fill
            parents += [base + r for r in chosen] + [base + chosen[0]] * fill
        active, width = still, options.size
        if active:
            scores, state = step(np.array(tokens, np.int64), np.array(parents, np.int64), state)
    return [u.done for u in utterances]
