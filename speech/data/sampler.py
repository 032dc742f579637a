"""Batches of cuts alike in seconds and tokens: the order is a pure function of (seed, epoch), whoever reads it.

A pool of some thousand cuts is taken from the epoch's order and cut up: strips of like duration, in each of them
batches of like token counts, then the steps are shuffled. The fixed edges of 2D buckets (arXiv 2503.05931) only say
how many cuts a batch may have; inside them neighbours go together, so there is less padding than between the edges.
There is no thread, no queue and no state but the place in the order.
"""

import logging
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from speech.data.bins import Sizes
from speech.data.order import Order
from speech.errors import DataError

log = logging.getLogger(__name__)

STRIP = 0.49  # steps in a strip by the root of all steps: more is less padding of tokens and more of audio
_ENOUGH = 1e-6  # rounding of sums of 1 / size


class Plan(NamedTuple):
    """One batch of one rank, to be loaded; `epoch, pool, index` is its place and the state of the sampler."""

    rows: np.ndarray  # [B]
    passes: np.ndarray  # [B] passes over its source before each row: part of the seed of augmentation
    epoch: int
    pool: int
    index: int


class BatchSampler:
    """Batches of all epochs from `start` = (epoch, pool, index) on, without end.

    `lengths(rows, passes)` gives seconds and tokens [N] as the batch will hold them. All ranks get batches of the same
    strip and token range in a step, with no cut in common.
    """

    def __init__(
        self,
        order: Callable[[int], Order],
        lengths: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
        sizes: Sizes,
        pool_cuts: int = 20000,
        seed: int = 0,
        shuffle: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ):
        self.order, self.lengths, self.sizes, self.pool_cuts = order, lengths, sizes, pool_cuts
        self.seed, self.shuffle, self.rank, self.world_size = seed, shuffle, rank, world_size
        self.start: tuple[int, int, int] = (0, 0, 0)

    def __iter__(self) -> Iterator[Plan]:
        epoch, pool, index = self.start
        while True:
            yield from self.epoch(epoch, pool, index)
            epoch, pool, index = epoch + 1, 0, 0

    def epoch(self, number: int, pool: int = 0, index: int = 0) -> Iterator[Plan]:
        """Batches of this rank in one epoch, from a place on."""
        rows, passes = self.order(number).epoch(number)
        pools = np.array_split(np.arange(len(rows)), -(-len(rows) // self.pool_cuts))
        for p in range(pool, len(pools)):
            taken = pools[p]
            steps = self._steps(rows[taken], passes[taken], np.random.default_rng([self.seed, 1, number, p]))
            for i in range(index, len(steps)):
                mine = taken[steps[i][self.rank :: self.world_size]]
                yield Plan(rows[mine], passes[mine], number, p, i)
            index = 0

    def _steps(self, rows: np.ndarray, passes: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
        seconds, tokens = self.lengths(rows, passes)
        steps = cut_up(seconds, tokens, self.sizes, self.world_size, rng)
        if out := len(rows) - sum(map(len, steps)):
            log.warning("%d of %d cuts stay out of this pool: too few to give each of %d ranks one", out, len(rows),
                        self.world_size)  # fmt: skip
        return [steps[i] for i in rng.permutation(len(steps))] if self.shuffle else steps


def cut_up(
    seconds: np.ndarray, tokens: np.ndarray, sizes: Sizes, world_size: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Indices of the cuts of each step, longest first; `step[rank::world_size]` is within the size of its lengths.

    Every index comes once, but no rank may be left without: up to world_size - 1 of the shortest stay out where even
    these are batches of one cut, and cuts that no bin covers together where there are fewer of them than ranks.
    """
    order = rng.permutation(len(seconds))
    order = order[np.argsort(-seconds[order], kind="stable")]
    alone = sizes(seconds, tokens)
    if (alone < 1).any():
        i = int(np.argmin(alone))
        raise DataError(f"no batch size for a cut of {seconds[i]:.2f} s and {tokens[i]} tokens: outside the bins")
    total = float(np.sum(1 / (alone * world_size)))
    begin, steps = 0, []
    while begin < len(order):
        # widths are drawn, so that cuts have other neighbours in the next epoch
        width = rng.uniform(0.75, 1.25) if begin else rng.uniform(0.1, 1.0)
        wanted = max(1, round(STRIP * total**0.5 * width))
        longest = float(seconds[order[begin]])
        window = order[begin : begin + wanted * world_size * int(alone.max())]
        together = sizes(np.full(len(window), longest), tokens[window])
        cost = np.cumsum(1 / (np.maximum(together, 1e-9) * world_size))  # a size of 0 closes the strip
        count = max(1, int(np.searchsorted(cost, wanted + _ENOUGH, side="right")))
        left = len(order) - begin - count
        if 0 < left < world_size:
            count += left
        steps += _cut_strip(order[begin : begin + count], longest, tokens, sizes, world_size)
        begin += count
    return steps


def _cut_strip(
    strip: np.ndarray, longest: float, tokens: np.ndarray, sizes: Sizes, world_size: int
) -> list[np.ndarray]:
    """Steps of like token counts, most tokens first, in as few as the sizes allow."""
    strip = strip[np.argsort(-tokens[strip], kind="stable")]
    while len(strip) >= world_size:
        allowed = sizes(np.full(len(strip), longest), tokens[strip])  # grows along the strip
        if allowed[0] < 1:  # no bin covers it beside the longest
            strip = strip[1:]
            continue
        cost = np.cumsum(1 / (allowed * world_size))
        for m in range(max(1, int(np.ceil(cost[-1] - _ENOUGH))), len(strip) // world_size + 1):
            ends = np.searchsorted(cost, cost[-1] * np.arange(1, m + 1) / m + _ENOUGH, side="right")
            starts = np.concatenate([[0], ends[:-1]])
            counts = ends - starts
            if (counts >= world_size).all() and (-(-counts // world_size) <= allowed[starts]).all():
                return [strip[a:b] for a, b in zip(starts, ends, strict=True)]
        strip = strip[:-1]
    return []
