"""How much of the batches is padding."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Padding:
    """Sums over batches; adding two gives that of both."""

    batches: int = 0
    cuts: int = 0
    seconds: float = 0.0
    padded_seconds: float = 0.0
    real_tokens: float = 0.0
    padded_tokens: float = 0.0

    def __add__(self, other: "Padding") -> "Padding":
        return Padding(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    @property
    def audio(self) -> float:
        return 1 - self.seconds / self.padded_seconds if self.padded_seconds else 0.0

    @property
    def tokens(self) -> float:
        return 1 - self.real_tokens / self.padded_tokens if self.padded_tokens else 0.0

    def __str__(self) -> str:
        mean = self.cuts / max(1, self.batches)
        return f"padding {100 * self.audio:.1f} % audio, {100 * self.tokens:.1f} % tokens, {mean:.1f} cuts a batch"


def padding_of(batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> Padding:
    """Of batches given as seconds [B] and tokens [B]."""
    total = Padding()
    for seconds, tokens in batches:
        n = len(seconds)
        total += Padding(1, n, seconds.sum(), n * seconds.max(), tokens.sum(), n * tokens.max())
    return total
