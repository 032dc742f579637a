import pytest
from lhotse import CutSet, MonoCut

from speech.data.sampler import plan_epoch

# 40 cuts of 0.5 ... 4.4 s in mixed order
CUTS = CutSet.from_cuts([MonoCut(f"c{i}", 0.0, 0.5 + (i * 7 % 40) / 10, 0) for i in range(40)])


def plan(seed=1, epoch=0, shuffle=True, rank=0, world=1, cuts=CUTS, seconds=10.0, buckets=4):
    return plan_epoch(cuts, seconds, buckets, seed, epoch, shuffle, rank, world)


def ids(batches):
    return [[cut.id for cut in batch] for batch in batches]


def test_the_order_is_a_function_of_seed_and_epoch():
    assert ids(plan()) == ids(plan())
    assert ids(plan(epoch=3)) == ids(plan(epoch=3))
    assert len({str(ids(plan(seed=seed))) for seed in range(4)}) == 4
    assert len({str(ids(plan(epoch=epoch))) for epoch in range(4)}) == 4


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("epoch", [0, 1])
def test_every_cut_appears_once(shuffle, epoch):
    assert sorted(sum(ids(plan(shuffle=shuffle, epoch=epoch)), [])) == sorted(cut.id for cut in CUTS)


def test_padded_batches_stay_within_the_seconds():
    batches = plan()
    padded = [len(batch) * max(cut.duration for cut in batch) for batch in batches]
    assert max(padded) <= 10.0
    assert sum(padded) / 10.0 > 0.7 * len(batches), "and use them"
    few = [plan(epoch=epoch, buckets=2) for epoch in range(5)]
    assert max(len(batch) * max(cut.duration for cut in batch) for p in few for batch in p) <= 10.0
    real = sum(cut.duration for cut in CUTS)
    assert sum(padded) < 1.25 * real, "cuts of like duration are together"


def test_a_cut_over_the_seconds_is_a_batch_of_its_own():
    batches = plan(seconds=1.0)
    assert all(len(batch) == 1 for batch in batches if max(cut.duration for cut in batch) > 1.0)
    assert sum(len(batch) for batch in batches) == 40


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("epoch", range(3))
def test_ranks_share_the_epoch_and_stay_in_step(world, epoch):
    plans = [ids(plan(epoch=epoch, rank=rank, world=world)) for rank in range(world)]
    assert len({len(p) for p in plans}) == 1
    assert set(sum((batch for p in plans for batch in p), [])) == {cut.id for cut in CUTS}
    full = sum((batch for p in plans for batch in p[:-1]), [])
    assert len(full) == len(set(full)), "only the last batches may repeat a cut"
    last = sum((p[-1] for p in plans), [])
    assert not set(full) & set(last) and len(last) - len(set(last)) < world


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("world", [1, 2, 4])
def test_few_cuts_need_no_fewer_buckets_and_every_rank_has_a_batch(count, world):
    few = CutSet.from_cuts(list(CUTS)[:count])
    plans = [ids(plan(cuts=few, rank=rank, world=world, buckets=10)) for rank in range(world)]
    assert len({len(p) for p in plans}) == 1 and all(plans)
    everything = sum((batch for p in plans for batch in p), [])
    assert set(everything) == {cut.id for cut in few}, "a repeated cut keeps its id"
    assert count <= len(everything) < count + world
