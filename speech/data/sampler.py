"""The order of an epoch: duration buckets by Lhotse, a pure function of (seed, epoch)."""

import re
import warnings
from bisect import bisect_right
from dataclasses import dataclass, field

from lhotse import CutSet
from lhotse.cut import Cut
from lhotse.dataset import DynamicBucketingSampler
from lhotse.dataset.sampling.base import TimeConstraint
from lhotse.dataset.sampling.dynamic_bucketing import estimate_duration_buckets


@dataclass
class _Within(TimeConstraint):
    """Counts each cut as long as the longest of its bucket. Lhotse's own rule is overrun when a longer cut follows."""

    starts: list[float] = field(default_factory=list)  # of the buckets but the first
    longest: list[float] = field(default_factory=list)  # cut of each bucket

    def add(self, example: Cut) -> None:
        super().add(example)
        self.longest_seen = max(self.longest_seen, self.longest[bisect_right(self.starts, example.duration)])


def _buckets(cuts: CutSet, count: int) -> tuple[list[float], list[float]]:
    """Durations that start the buckets but the first, and the longest duration in each."""
    durations = sorted(cut.duration for cut in list(cuts))
    starts = sorted(set(estimate_duration_buckets(cuts, count)) - {durations[0]})
    longest = [0.0] * (len(starts) + 1)
    for duration in durations:
        longest[bisect_right(starts, duration)] = duration
    return starts, longest


def plan_epoch(
    cuts: CutSet, batch_seconds: float, buckets: int, seed: int, epoch: int, shuffle: bool, rank: int, world_size: int
) -> list[list[Cut]]:
    """Every batch of this rank's epoch, padded length within batch_seconds; equally many batches on all ranks.

    A longer cut is a batch of its own. Each cut comes once, but the last batches repeat some where there are fewer
    cuts left than ranks.
    """
    known = {cut.id for cut in list(cuts)}
    if len(known) == 1:
        return [list(cuts)]  # nothing to put in buckets
    starts, longest = _buckets(cuts, min(max(2, buckets), len(known)))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You are using DynamicBucketingSampler with an eagerly read CutSet")
        warnings.filterwarnings("ignore", category=RuntimeWarning, module="numpy")  # means of empty buckets
        sampler = DynamicBucketingSampler(
            cuts,
            constraint=_Within(max_duration=batch_seconds, starts=starts, longest=longest),
            duration_bins=starts,
            num_buckets=None,
            shuffle=shuffle,
            seed=seed,
            rank=rank,
            world_size=world_size,
        )
        sampler.set_epoch(epoch)
        return [[_original(cut, known) for cut in batch] for batch in sampler]


def _original(cut: Cut, known: set[str]) -> Cut:
    """Lhotse gives a repeated cut a new id, which has no tokens."""
    return cut if cut.id in known else cut.with_id(re.sub(r"(_dup\d+)+$", "", cut.id))
