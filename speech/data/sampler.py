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
