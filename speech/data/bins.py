"""2D buckets: pairs of edges in (seconds, tokens) (arXiv 2503.05931), which cuts they take, how they are found."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from speech.data.made_file import MadeFile
from speech.errors import SpeechError

OUTLIER = 4.0  # standard deviations above the mean tokens per second of a bin: such cuts run out of memory
Sizes = Callable[[np.ndarray, np.ndarray], np.ndarray]  # longest seconds [N], most tokens [N] -> cuts in a batch [N]
FITS = (
    "",
    "longer than the last edge",
    "with more tokens than the edges of its bin",
    "with more tokens a second than its bin",
)


@dataclass(frozen=True)
class Bins(MadeFile):
    """Edges are inclusive and increase; a cut belongs to the first bin of seconds that takes it, then of tokens."""

    seconds: list[float]
    tokens: list[list[int]]  # for each bin of seconds; the last one is not below that of the bin before
    max_tps: list[float]  # tokens per second, for each bin of seconds
    made_for: dict[str, Any]  # tokenizer, prompt and filters
    report: dict[str, Any]
    what, command = "bins", "speech data bins"

    def __post_init__(self) -> None:
        if not len(self.max_tps) == len(self.seconds) == len(self.tokens):
            raise ValueError("lists of different lengths")

    @cached_property
    def edges(self) -> list[tuple[float, int]]:
        return [(d, u) for d, tokens in zip(self.seconds, self.tokens, strict=True) for u in tokens]

    @cached_property
    def most(self) -> np.ndarray:
        """Most tokens that each bin of seconds takes."""
        return np.array([tokens[-1] for tokens in self.tokens])

    def faults(self, seconds: np.ndarray, tokens: np.ndarray, strict: bool = True) -> np.ndarray:
        """Index into FITS of each cut [N], 0 where it is taken; strict: by its own bin of seconds, not a longer one.

        The limit on tokens per second holds in both modes; NeMo 3.0 forgets a list of them in the lenient one.
        """
        home = np.searchsorted(self.seconds, seconds)
        long = home == len(self.seconds)
        home[long] = 0
        fast = tokens / seconds > np.asarray(self.max_tps)[home]
        many = tokens > (self.most[home] if strict else self.most[-1])
        return np.select([long, fast, many], [1, 3, 2], 0)

    def covering(self, seconds: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Index into `edges` of the first bin with both at or above, whatever the tokens per second; -1 without one."""
        home = np.maximum(np.searchsorted(self.seconds, seconds), np.searchsorted(self.most, tokens))
        index, first = np.full(len(home), -1), 0
        for i, edges in enumerate(self.tokens):
            index[home == i] = first + np.searchsorted(edges, tokens[home == i])
            first += len(edges)
        return index


def _equal_parts(lengths: np.ndarray, parts: int) -> list[float]:
    """Edges between `parts` bins of equal sums over sorted lengths: where the sum before a length exceeds the share."""
    sums = np.cumsum(lengths)
    share, base, edges = sums[-1] / parts, 0.0, []
    while True:
        # the tolerance keeps rounding from opening a bin too late
        i = int(np.searchsorted(sums, (base + share) * (1 + 1e-12), side="right")) + 1
        if i >= len(lengths):
            return edges
        edges.append(float(lengths[i]))
        base = sums[i - 1]


def _up(seconds: float) -> float:
    """Rounded up to milliseconds: an edge below its own cut would send it away."""
    up = math.ceil(seconds * 1000) / 1000
    return up if up >= seconds else math.ceil(seconds * 1000 + 1) / 1000


def estimate_bins(
    seconds: np.ndarray, tokens: np.ndarray, buckets: int, sub_buckets: int, made_for: dict[str, Any] | None = None
) -> Bins:
    """Bins of equal audio, each cut into bins of equal tokens, over cuts with lengths in seconds and tokens [N].

    Cuts far above the tokens per second of their bin are left out of it; `faults` of the same cuts finds the same.
    """
    if buckets < 1 or sub_buckets < 1:
        raise SpeechError(f"buckets {buckets} and sub_buckets {sub_buckets} must be at least 1")
    order = np.lexsort((tokens, seconds))
    seconds, tokens = seconds[order], tokens[order]
    inner = [_up(edge) for edge in _equal_parts(seconds, buckets)]
    edges = sorted({*inner, _up(float(seconds[-1]))})
    # bins that fell together keep their share of the token bins
    merged = [max(1, inner.count(edge) + (edge == edges[-1])) for edge in edges]
    home = np.searchsorted(edges, seconds)
    kept_edges, token_edges, max_tps, most = [], [], [], 0
    for i, edge in enumerate(edges):
        mine, tps = tokens[home == i], (tokens / seconds)[home == i]
        if not len(mine):
            continue
        spread = tps.std()
        survives = tps - tps.mean() <= OUTLIER * spread if spread > 0 else np.ones(len(tps), bool)
        mine = np.sort(mine[survives])
        parts = {int(u) for u in _equal_parts(mine, sub_buckets * merged[i])}
        most = max(most, int(mine[-1]))
        kept_edges.append(edge)
        token_edges.append(sorted({u for u in parts if u < most} | {most}))
        max_tps.append(float(tps[survives].max()))
    return Bins(kept_edges, token_edges, max_tps, made_for or {}, {})


def budget_sizes(batch_seconds: float, quadratic_seconds: float) -> Sizes:
    """Cuts within batch_seconds of audio, each counted d + d^2 / quadratic_seconds long (0: plain d); at least one."""

    def sizes(seconds: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        cost = seconds + seconds**2 / quadratic_seconds if quadratic_seconds else seconds
        return np.maximum(1, np.floor(batch_seconds / cost + 1e-9)).astype(np.int64)

    return sizes


def profile_sizes(bins: Bins, batch_sizes: Sequence[int]) -> Sizes:
    """Batch sizes found for the bins; a batch counts as the first bin that covers its longest and its most tokens.

    0 where no bin covers both: such cuts go into different batches.
    """
    if len(batch_sizes) != len(bins.edges):
        raise SpeechError(f"data.batch_sizes has {len(batch_sizes)} sizes for {len(bins.edges)} bins")
    table = np.array([*batch_sizes, 0])

    def sizes(seconds: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        return table[bins.covering(seconds, tokens)]

    return sizes
