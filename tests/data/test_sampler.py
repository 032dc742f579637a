import itertools

import numpy as np
import pytest
from test_bins import synthetic

from speech.data.bins import budget_sizes, estimate_bins, profile_sizes
from speech.data.order import Order
from speech.data.sampler import BatchSampler
from speech.errors import DataError

SECONDS, TOKENS = synthetic(1500)
BUDGET = budget_sizes(120.0, 15.0)


def make(n=1500, seed=1, sizes=BUDGET, pool=600, shuffle=True, rank=0, world=1, seconds=SECONDS, tokens=TOKENS):
    order = Order([np.arange(n)], seed=seed, shuffle=shuffle)
    return BatchSampler(lambda _: order, lambda r, p: (seconds[r], tokens[r]), sizes, pool, seed, shuffle, rank, world)


def rows(plans):
    return [plan.rows.tolist() for plan in plans]


def profile():
    bins = estimate_bins(SECONDS, TOKENS, 10, 3)
    edges = np.array(bins.edges)
    found = BUDGET(edges[:, 0], edges[:, 1]) // (1 + edges[:, 1] // 80)
    return profile_sizes(bins, np.maximum(1, found)), bins


def test_the_order_is_a_function_of_seed_and_epoch():
    assert rows(make().epoch(3)) == rows(make().epoch(3))
    assert len({str(rows(make(seed=seed).epoch(epoch))) for seed in range(3) for epoch in range(3)}) == 9


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("n", [4, 5, 7, 30, 599, 1201, 1500])
@pytest.mark.parametrize("epoch", range(2))
def test_every_rank_has_equally_many_batches_and_every_cut_comes_once(world, n, epoch):
    plans = [rows(make(n, rank=rank, world=world).epoch(epoch)) for rank in range(world)]
    assert len({len(p) for p in plans}) == 1
    everything = sum((batch for p in plans for batch in p), [])
    assert all(batch for p in plans for batch in p), "no rank is without"
    assert len(everything) == len(set(everything)) and set(everything) <= set(range(n))
    # only where the shortest cuts of a pool fill a batch alone, and fewer than ranks, they stay out
    assert n - len(everything) < world * -(-n // 600)
    if SECONDS[:n].min() < 5:
        assert len(everything) == n


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("calibrated", [False, True])
def test_no_batch_is_over_the_size_of_its_longest_and_most_tokens(world, calibrated):
    sizes, bins = profile() if calibrated else (BUDGET, None)
    kept = np.arange(1500) if bins is None else np.flatnonzero(bins.faults(SECONDS, TOKENS) == 0)
    filled = []
    for rank in range(world):
        sampler = make(len(kept), sizes=sizes, rank=rank, world=world, seconds=SECONDS[kept], tokens=TOKENS[kept])
        for plan in sampler.epoch(0):
            longest, most = SECONDS[kept][plan.rows].max(), TOKENS[kept][plan.rows].max()
            size = int(sizes(np.array([longest]), np.array([most]))[0])
            assert len(plan.rows) <= size
            filled.append(len(plan.rows) / size)
    assert np.mean(filled) > 0.8


def test_a_cut_over_the_budget_is_a_batch_of_its_own_and_one_outside_the_bins_an_error():
    plans = rows(make(sizes=budget_sizes(2.0, 0.0)).epoch(0))
    assert all(len(batch) == 1 for batch in plans if SECONDS[batch].max() > 2.0)
    with pytest.raises(DataError, match="no batch size for a cut of .* outside the bins"):
        list(make(sizes=lambda d, u: np.zeros(len(d), int)).epoch(0))


def test_ranks_get_batches_alike_in_a_step():
    plans = [list(make(rank=rank, world=4).epoch(0)) for rank in range(4)]
    for step in zip(*plans, strict=True):
        counts = [len(plan.rows) for plan in step]
        assert max(counts) - min(counts) <= 1
        assert len({(plan.epoch, plan.pool, plan.index) for plan in step}) == 1
    longest = np.array([[SECONDS[plan.rows].max() for plan in step] for step in zip(*plans, strict=True)])
    assert np.mean(longest.min(1) / longest.max(1)) > 0.93


def test_padding_is_low_and_more_so_in_larger_pools():
    def padding(pool):
        plans = rows(make(pool=pool).epoch(0))
        padded = [(len(b) * SECONDS[b].max(), len(b) * TOKENS[b].max()) for b in plans]
        return 1 - np.array([SECONDS.sum(), TOKENS.sum()]) / np.sum(padded, axis=0)

    small, large = padding(150), padding(1500)
    assert (large < small).all() and large[0] < 0.06 and large[1] < 0.10


def test_any_place_is_a_place_to_go_on_from():
    whole = list(itertools.islice(make(pool=400), 300))
    assert whole[-1].epoch == 1 and max(plan.pool for plan in whole) == 3
    for k in [*range(0, 300, 23), 299]:
        rest, last = make(pool=400), whole[k - 1]
        rest.start = (last.epoch, last.pool, last.index + 1) if k else (0, 0, 0)
        assert rows(itertools.islice(rest, 300 - k)) == rows(whole[k:])


def test_epochs_hold_other_batches_of_neighbours():
    where = np.empty(1500, int)
    for i, batch in enumerate(rows(make(pool=1500).epoch(0))):
        where[batch] = i
    same = total = 0
    for batch in rows(make(pool=1500).epoch(1)):
        together = np.bincount(where[batch])
        same, total = same + (together * (together - 1)).sum(), total + len(batch) * (len(batch) - 1)
    assert same / total < 0.6


def test_a_batch_of_any_length_comes_anywhere_in_the_epoch():
    """Chi-square over tenths of the epoch and quarters of duration, 30 epochs; the 0.999 quantile is 55.5."""
    table = np.zeros((4, 10))
    quarter = np.quantile(SECONDS, [0.25, 0.5, 0.75])
    for epoch in range(30):
        plans = rows(make(pool=1500).epoch(epoch))
        for i, batch in enumerate(plans):
            table[np.searchsorted(quarter, np.median(SECONDS[batch])), 10 * i // len(plans)] += 1
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    assert ((table - expected) ** 2 / expected).sum() < 55.5


def test_without_shuffling_the_longest_come_first():
    plans = rows(make(pool=1500, shuffle=False).epoch(0))
    longest = [SECONDS[batch].max() for batch in plans]
    assert longest[0] == SECONDS.max() and plans == rows(make(pool=1500, shuffle=False).epoch(0))
    assert sorted(sum(plans, [])) == list(range(1500))


@pytest.mark.parametrize("world", [1, 2, 4])
def test_cuts_that_fit_only_apart_are_apart_and_those_that_cannot_be_are_told(world, caplog):
    """No batch may hold a long cut and one of many tokens: there is no size for both."""

    def sizes(seconds, tokens):
        return np.where((seconds > 10) & (tokens > 100), 0, 4)

    seconds, tokens = np.array([20.0, 20.0, 20.0, 20.0, 5.0]), np.array([50, 50, 50, 50, 150])
    plans = [
        rows(make(5, sizes=sizes, rank=r, world=world, seconds=seconds, tokens=tokens).epoch(0)) for r in range(world)
    ]
    batches = sum(plans, [])
    seen = sorted(sum(batches, []))
    assert seen == ([0, 1, 2, 3, 4] if world == 1 else [0, 1, 2, 3])
    assert all(4 not in batch or batch == [4] for batch in batches)
    assert ("1 of 5 cuts stay out of this pool" in caplog.text) == (world > 1)
