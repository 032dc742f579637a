"""The order of an epoch: duration buckets by Lhotse, a pure function of (seed, epoch)."""

from lhotse import CutSet
from lhotse.cut import Cut
from lhotse.dataset import DynamicBucketingSampler


def plan_epoch(
    cuts: CutSet, batch_seconds: float, buckets: int, seed: int, epoch: int, shuffle: bool, rank: int, world_size: int
) -> list[list[Cut]]:
    """Every batch of this rank's epoch, padded length within batch_seconds; equally many batches on all ranks."""
    sampler = DynamicBucketingSampler(
        cuts,
        max_duration=batch_seconds,
        num_buckets=max(2, buckets),
        shuffle=shuffle,
        seed=seed,
        rank=rank,
        world_size=world_size,
    )
    sampler.set_epoch(epoch)
    return [list(batch) for batch in sampler]


def shortest_first(plan: list[list[Cut]], count: int) -> list[list[Cut]]:
    """Move the `count` batches of the shortest cuts to the front, in rising length; the others keep their order."""
    rising = sorted(range(len(plan)), key=lambda i: (max(cut.duration for cut in plan[i]), i))[:count]
    moved = set(rising)
    return [plan[i] for i in rising] + [batch for i, batch in enumerate(plan) if i not in moved]
