"""Hot words: phrases that a search should expect, as a bonus on their tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from unicodedata import east_asian_width

import numpy as np

from speech.errors import DataError, SpeechError
from speech.text.base import BaseTokenizer
from speech.text.spe import BLANK_MARK

WEIGHT = 1.5  # per token, as in sherpa; on clean digits it costs 0.1-0.5 points of WER, and 5 costs 2.5-7.5
MAX_WEIGHT = 20.0


@dataclass
class _Node:
    """A beginning of phrases. `best` is the greatest weight that it can still come to, its own end included."""

    next: dict[int, "_Node"] = field(default_factory=dict)
    weight: float = 0.0  # of the phrase that ends here
    best: float = 0.0


@dataclass(frozen=True)
class _State:
    """What each of the last tokens has earned, and the phrases under way: (how many tokens, node)."""

    earned: tuple[float, ...] = ()
    active: tuple[tuple[int, _Node], ...] = ()

    def worth(self) -> float:
        """Every token counts once, with the greatest weight of the phrases that hold it or still may."""
        worth = list(self.earned)
        for count, node in self.active:
            worth[-count:] = [max(w, node.best) for w in worth[-count:]]
        return sum(worth)


class HotWords:
    """The scorer of phrases: each of its tokens raises a hypothesis by the phrase's weight.

    A phrase gives its bonus as it comes, token by token, and takes it back when something else follows or it turns out
    a part of a longer word: "one" is neither in "phone" nor in "ones". A token in two phrases counts once, with the
    greater weight. Between characters of scripts without blanks, such as Chinese, any place is a word's edge.
    """

    def __init__(self, phrases: Mapping[tuple[int, ...], float], pieces: Sequence[str]):
        """Weights by tokens; pieces of all tokens."""
        self._root, self._known, self.most = _Node(), set[int](), max(phrases.values(), default=0.0)
        for tokens, weight in phrases.items():
            node = self._root
            for token in tokens:
                node = node.next.setdefault(token, _Node())
                node.best = max(node.best, weight)
            node.weight = weight
            self._known.update(tokens)
        # a phrase still matters to a token of it, and another one before that to its first
        self._reach = 2 * max(map(len, phrases), default=0)
        self._opens_joined = np.array([_joins(piece[:1]) for piece in pieces], bool)
        self._closes_joined = np.array([_joins(piece[-1:]) for piece in pieces], bool)
        self._first = np.zeros(len(pieces))
        for token, node in self._root.next.items():
            self._first[token] = node.best
        self._first_joined = np.where(self._opens_joined, 0.0, self._first)  # after a piece that joins

    @classmethod
    def from_texts(
        cls,
        texts: Mapping[str, float] | Sequence[str],
        tokenizer: BaseTokenizer,
        language: str | None = None,
    ) -> "HotWords":
        """Texts as the model writes them, WEIGHT for those that bring none. SpeechError names one that cannot be."""
        weights = texts if isinstance(texts, Mapping) else dict.fromkeys(texts, WEIGHT)
        phrases: dict[tuple[int, ...], float] = {}
        for text, value in weights.items():
            if not 0 < value <= MAX_WEIGHT:
                raise SpeechError(f"hot word '{text}': weight {value:g} is not above 0 and up to {MAX_WEIGHT:g}")
            for tokens in _tokenisations(text, tokenizer, language):
                phrases[tokens] = max(value, phrases.get(tokens, 0.0))
        return cls(phrases, tokenizer.pieces)

    def __call__(
        self, history: list[list[int]], utterances: np.ndarray, log_probs: np.ndarray, ids: np.ndarray
    ) -> np.ndarray:
        return np.stack([self._gains(tokens)[columns] for tokens, columns in zip(history, ids, strict=True)])

    def _gains(self, tokens: list[int]) -> np.ndarray:
        """[V] what each token would add to a text."""
        state, after_word = self._read(tokens), bool(tokens and self._closes_joined[tokens[-1]])
        if not state.active:
            return self._first_joined if after_word else self._first
        joined = self._opens_joined & after_word
        before = state.worth()
        free = self._after(state, None, False).worth()
        stuck = self._after(state, None, True).worth()
        gains = np.where(joined, stuck, free + self._first) - before
        for token in {token for _, node in state.active for token in node.next}:
            gains[token] = self._after(state, token, bool(joined[token])).worth() - before
        return gains

    def _read(self, tokens: list[int]) -> _State:
        """State after a text, of which only the end matters: what follows its last token that no phrase has."""
        start = len(tokens)
        while start and tokens[start - 1] in self._known and len(tokens) - start <= self._reach:
            start -= 1
        state = _State()
        for i in range(start, len(tokens)):
            joined = bool(i and self._closes_joined[tokens[i - 1]] and self._opens_joined[tokens[i]])
            state = self._after(state, tokens[i], joined)
        return state

    def _after(self, state: _State, token: int | None, joined: bool) -> _State:
        """`joined`: the token goes on with a word; None stands for any that no phrase has here."""
        earned = [*state.earned, 0.0]
        active: list[tuple[int, _Node]] = []
        for count, node in (*state.active, (0, self._root)):
            if not joined and node.weight:
                earned[-count - 1 : -1] = [max(w, node.weight) for w in earned[-count - 1 : -1]]
            if (count or not joined) and token in node.next:
                active.append((count + 1, node.next[token]))
        return _State(tuple(earned), tuple(active))


def _joins(character: str) -> bool:
    """Whether it makes a word with such a neighbour."""
    return character.isalnum() and east_asian_width(character) not in "WF"


def _tokenisations(text: str, tokenizer: BaseTokenizer, language: str | None) -> list[tuple[int, ...]]:
    """Tokens of a text as they begin one, and for scripts without blanks as they stand inside one."""
    clean = " ".join(text.split())
    if not clean:
        raise SpeechError(f"hot word {text!r} is empty; leave it out")
    try:
        ids = tokenizer.encode(clean, language)
    except DataError as error:
        raise SpeechError(f"hot word '{clean}': {error}") from None
    if not ids or not set(ids).isdisjoint(tokenizer.special_ids):
        raise SpeechError(f"hot word '{clean}': the tokenizer has no tokens for it; write it as the model does")
    found = [tuple(ids)]
    first = tokenizer.pieces[ids[0]]
    if first.startswith(BLANK_MARK) and clean[0].isalnum() and not _joins(clean[0]):
        if first == BLANK_MARK:
            found.append(tuple(ids[1:]))
        elif first[1:] in tokenizer.pieces:
            found.append((tokenizer.pieces.index(first[1:]), *ids[1:]))
    return found
