"""Greedy search with a draft (Stern et al. 2018, arXiv 1811.03115): a decoder that takes several tokens at once scores
a guess in one pass, and the search walks along these scores for as long as it goes where the guess went.

Whatever the draft, the search sees the scores that it would have seen without one.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from speech.search.beam import Scores

WIDTH = 12  # guesses of a pass at most: half as many after one that was refused, twice as many where none was


@runtime_checkable
class Verifier(Protocol):
    def verify(self, tokens: np.ndarray, filled: int, state: Any) -> tuple[np.ndarray, Any]:
        """tokens [N, U] behind the first `filled` that a state has seen (None: no state yet) -> log-probabilities
        [N, U, V] after each of them. What a state saw behind `filled` is forgotten."""
        ...


class _Guess(NamedTuple):
    tokens: list[int]  # seen by the decoder, not yet taken by the search
    log_probs: np.ndarray  # [1 + len(tokens), V] before each of them and after the last
    filled: int  # tokens of prompt and text that the search has taken
    width: int  # guesses of a pass at this place, as the draft has been worth so far
    edits: np.ndarray  # [1 + D] from the text to each beginning of the draft
    state: Any


class Speculative:
    """The step of a search of one hypothesis over one utterance; a text has at most `cap` tokens."""

    def __init__(self, decoder: Verifier, draft: Sequence[int], cap: int):
        self.decoder, self.draft, self.cap = decoder, np.array(draft, np.int64), cap

    def first(self, prompts: np.ndarray) -> tuple[Scores, _Guess]:
        """prompts [1, P] -> scores [1, V] of the first text token."""
        return self._pass(prompts[0], 0, WIDTH, np.arange(len(self.draft) + 1), None)

    def __call__(self, tokens: np.ndarray, parents: np.ndarray, guess: _Guess) -> tuple[Scores, _Guess]:
        """tokens [1]; the guesses go on where the draft is most like the text."""
        edits = next_edits(guess.edits, self.draft, tokens[0])
        if guess.tokens and guess.tokens[0] == tokens[0]:
            left, log_probs = guess.tokens[1:], guess.log_probs[1:]
            guess = guess._replace(tokens=left, log_probs=log_probs, filled=guess.filled + 1, edits=edits)
            return Scores(log_probs[:1]), guess
        width = max(1, guess.width // 2) if guess.tokens else min(WIDTH, 2 * guess.width)
        return self._pass(tokens, guess.filled, width, edits, guess.state)

    def _pass(
        self, tokens: np.ndarray, filled: int, width: int, edits: np.ndarray, state: Any
    ) -> tuple[Scores, _Guess]:
        taken = filled + len(tokens)
        at = len(edits) - 1 - int(edits[::-1].argmin())  # the last of equals: a wrong token is likelier than one more
        rest = self.draft[at:][: min(width, self.cap - 1 - edits[0])]  # the text has edits[0] tokens
        log_probs, state = self.decoder.verify(np.append(tokens, rest)[None], filled, state)
        guess = _Guess(rest.tolist(), log_probs[0, len(tokens) - 1 :], taken, width, edits, state)
        return Scores(guess.log_probs[:1]), guess


def next_edits(edits: np.ndarray, draft: np.ndarray, token: int) -> np.ndarray:
    """Levenshtein distances [1 + D] of a text to the beginnings of a draft -> those of the text with a token more."""
    changed = edits + 1
    changed[1:] = np.minimum(changed[1:], edits[:-1] + (draft != token))
    places = np.arange(len(edits))
    return np.minimum.accumulate(changed - places) + places
