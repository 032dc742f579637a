"""What the CTC head says of texts: the likeliest one, the probability of one, and its vote in the beam search."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

FLOOR = -100.0  # of a frame's log-probability: sums over thousands of frames stay exact to 1e-9
BEST = 10  # tokens of a row that the decoder puts forward
HEARD = 1e-3  # tokens of this probability in any frame are put forward by the CTC, whatever the decoder says
LOWEST = -1e300  # instead of -inf, which has no difference to itself


def ctc_greedy(log_probs: np.ndarray, blank: int) -> list[int]:
    """Tokens of the likeliest alignment [T, V]: repeats merged, blanks left out."""
    best = log_probs.argmax(1)
    return best[(best != blank) & np.append(True, best[1:] != best[:-1])].tolist()


class _Prefixes(NamedTuple):
    """Beginnings of texts. Probabilities are logarithms; those of t frames count the alignments of just this text."""

    last: np.ndarray  # [R] token, or -1
    score: np.ndarray  # [R] that a text begins so
    ended: np.ndarray  # [R, T + 1] of t frames
    blank: np.ndarray  # [R, T + 1] of t frames of which the last is a blank, or of none


def _emitted(log_probs: np.ndarray, tokens: Sequence[int] | np.ndarray) -> np.ndarray:
    return np.maximum(log_probs[:, tokens].T.astype(np.float64), FLOOR)  # [K, T]


def _empty(blank: np.ndarray) -> _Prefixes:
    """The prefix without tokens; `blank` [1, T + 1]: the `_sums` of the blank's log-probabilities, as below."""
    return _Prefixes(np.array([-1]), np.zeros(1), blank, blank)


def _extended(old: _Prefixes, tokens: np.ndarray, x: np.ndarray, blank: np.ndarray) -> _Prefixes:
    """Each prefix with its token [R], whose log-probabilities are x [R, T]."""
    before = np.where((tokens == old.last)[:, None], old.blank, old.ended)[:, :-1]  # one twice needs a blank between
    # token[t + 1] = (token[t] + before[t]) x[t + 1] and blank[t + 1] = (blank[t] + token[t]) x_blank[t + 1]
    token = _recursion(before, _sums(x))
    after = _recursion(token[:, :-1], blank)
    return _Prefixes(tokens, np.logaddexp.reduce(before + x, axis=1), np.logaddexp(token, after), after)


def ctc_score(log_probs: np.ndarray, ids: Sequence[int], blank: int) -> float:
    """Log-probability [T, V] of a text, over all alignments (Graves et al. 2006, section 4.1); -inf where T frames have
    no room for it."""
    blanks = _sums(_emitted(log_probs, [blank]))
    text = _empty(blanks)
    for token, x in zip(ids, _emitted(log_probs, list(ids)), strict=True):
        text = _extended(text, np.array([token]), x[None], blanks)
    return float(text.ended[0, -1])


class CtcPrefix:
    """The scorer of joint decoding: hypotheses are ranked by (1 - weight) x decoder + weight x CTC.

    arXiv 1706.02737 section 3.3: the CTC probability of all texts that begin so, at eos that of the text. Scored are
    the tokens that the CTC hears anywhere and the decoder's best; others never come. One object serves one search.
    """

    most = 0.0  # a part of a log-probability gives way to one of another

    def __init__(
        self, log_probs: Sequence[np.ndarray], blank: int, eos: int, weight: float, outside: Sequence[int] = ()
    ):
        """[T, V] of each utterance. Tokens `outside` of the CTC's texts, such as marks of time, do not change them."""
        assert 0 < weight <= 1
        self.eos, self.weight, self._log_probs = eos, weight, log_probs
        self._outside = np.zeros(log_probs[0].shape[1], bool)
        self._outside[[blank, eos, *outside]] = True
        self._blank = [_sums(_emitted(x, [blank])) for x in log_probs]
        heard = [(x.max(0) > np.log(HEARD)) & ~self._outside for x in log_probs]
        self._known = [some | self._outside for some in heard]
        self._heard = [np.flatnonzero(some) for some in heard]
        self._heard_probs = [np.exp(_emitted(x, tokens)) for x, tokens in zip(log_probs, self._heard, strict=True)]
        self._texts: list[list[list[int]]] = [[[]] for _ in log_probs]  # of each utterance in the call before
        self._prefixes = [_empty(blank) for blank in self._blank]

    def __call__(
        self, history: list[list[int]], utterances: np.ndarray, log_probs: np.ndarray, ids: np.ndarray
    ) -> np.ndarray:
        """The texts of an utterance are those of its call before, or go on from them by a token."""
        bonus = np.empty(ids.shape)
        for u in dict.fromkeys(utterances.tolist()):
            rows = np.flatnonzero(utterances == u)
            prefixes = self._go_on(u, [history[r] for r in rows])
            tokens, own = ids[rows], log_probs[rows]
            best = np.argpartition(-own, min(BEST, own.shape[1] - 1), axis=1)[:, :BEST]
            candidates, scores = self._scores(u, prefixes, np.unique(np.take_along_axis(tokens, best, 1)))
            own = own.astype(np.float64)
            own[own == -np.inf] = np.inf  # forbidden stays so
            by_token = np.full((len(rows), self._log_probs[u].shape[1]), -np.inf)
            by_token[:, candidates] = scores
            by_token[:, self._outside] = prefixes.score[:, None]
            by_token[:, self.eos] = prefixes.ended[:, -1]
            gained = np.take_along_axis(by_token, tokens, 1) - prefixes.score[:, None]
            bonus[rows] = self.weight * (gained - own)
        return bonus

    def _go_on(self, u: int, texts: list[list[int]]) -> _Prefixes:
        old, prefixes = self._texts[u], self._prefixes[u]
        longer = len(texts[0]) > len(old[0])
        places = [old.index(text[:-1] if longer else text) for text in texts]
        prefixes = _Prefixes(*(part[places] for part in prefixes))
        if longer:
            tokens = np.array([text[-1] for text in texts])
            new = _extended(prefixes, tokens, _emitted(self._log_probs[u], tokens), self._blank[u])
            kept = self._outside[tokens]
            for part, was in zip(new, prefixes, strict=True):
                part[kept] = was[kept]
            prefixes = new
        self._texts[u], self._prefixes[u] = texts, prefixes
        return prefixes

    def _scores(self, u: int, prefixes: _Prefixes, best: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tokens [K] and the log-probability [R, K] that a text begins with a prefix and each of them."""
        more = best[~self._known[u][best]]
        tokens = np.concatenate([self._heard[u], more])
        probs = np.concatenate([self._heard_probs[u], np.exp(_emitted(self._log_probs[u], more))])  # [K, T]
        scores = _log_matmul(prefixes.ended[:, :-1], probs)
        row, column = np.nonzero(tokens == prefixes.last[:, None])  # a token twice needs a blank between
        for r, k in zip(row, column, strict=True):
            scores[r, k] = _log_matmul(prefixes.blank[r : r + 1, :-1], probs[k : k + 1])[0, 0]
        return tokens, scores


def _log_matmul(x: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Logarithms [R, T] and probabilities [K, T] -> log of exp(x) @ probs.T, [R, K]."""
    peak = np.maximum(x.max(1, keepdims=True), LOWEST)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(x - peak) @ probs.T) + peak


def _sums(x: np.ndarray) -> np.ndarray:
    """[..., T] -> [..., T + 1] sums of the first t."""
    return np.cumsum(np.concatenate([np.zeros_like(x[..., :1]), x], axis=-1), axis=-1)


def _recursion(inflow: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """y[t + 1] = (y[t] + inflow[t]) x[t + 1], y[0] = 0, as logarithms: [R, T] and the `_sums` of x -> [R, T + 1]."""
    y = np.logaddexp.accumulate(inflow - sums[..., :-1], axis=-1) + sums[..., 1:]
    return np.concatenate([np.full_like(y[:, :1], -np.inf), y], axis=-1)
