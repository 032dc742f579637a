"""Rules of a search: each edits the scores in place before the best continuations are taken."""

from collections.abc import Sequence

import numpy as np

from speech.search.beam import Rule


def suppress(tokens: Sequence[int]) -> Rule:
    """These tokens never come."""

    def rule(history: list[list[int]], log_probs: np.ndarray, ids: np.ndarray) -> None:
        log_probs[np.isin(ids, tokens)] = -np.inf

    return rule


def max_repeats(limit: int, longest: int = 4, single: int | None = None) -> Rule:
    """A block of up to `longest` tokens stands at most `limit` times in a row, one token alone at most `single` times:
    no token ends one more."""

    def rule(history: list[list[int]], log_probs: np.ndarray, ids: np.ndarray) -> None:
        for row, tokens in enumerate(history):
            for n in range(1, longest + 1):
                times = single if n == 1 and single is not None else limit
                need = n * (times + 1) - 1
                tail = tokens[-need:]
                if len(tail) == need and tail[:-n] == tail[n:] and _is_block(tail[-n:]):
                    # periodic with n, one token short of a block too many
                    log_probs[row, ids[row] == tail[-n]] = -np.inf

    return rule


def _is_block(tokens: list[int]) -> bool:
    """Not itself a shorter block repeated, which has its own limit."""
    n = len(tokens)
    return not any(n % d == 0 and tokens[d:] == tokens[:-d] for d in range(1, n))
