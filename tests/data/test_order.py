import numpy as np
import pytest

from speech.data.order import Order


@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_an_epoch_of_one_source_is_every_row_once(epoch):
    rows, passes = Order([np.arange(10, 60)], seed=3).epoch(epoch)
    assert sorted(rows) == list(range(10, 60)) and (passes == epoch).all()


def test_weights_like_the_numbers_of_rows_are_every_row_once():
    order = Order([np.arange(30), np.arange(30, 37)], [30, 7], seed=1)
    for epoch in range(4):
        rows, passes = order.epoch(epoch)
        assert sorted(rows) == list(range(37)) and (passes == epoch).all()
    first, second = (np.flatnonzero(rows < 30), np.flatnonzero(rows >= 30))
    assert np.diff(second).max() <= 7 and len(first) == 30, "sources alternate"


def test_the_order_is_a_function_of_seed_and_epoch():
    def rows(seed, epoch):
        return Order([np.arange(50)], seed=seed).epoch(epoch)[0].tolist()

    assert rows(1, 2) == rows(1, 2)
    assert len({str(rows(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9
    assert Order([np.arange(50)], shuffle=False).epoch(4)[0].tolist() == list(range(50))


def test_a_heavy_source_repeats_pass_by_pass_and_the_share_is_exact():
    order = Order([np.arange(90), np.arange(90, 100)], [0.6, 0.4], seed=1)
    seen, count = {}, np.zeros(2)
    for epoch in range(25):
        rows, passes = order.epoch(epoch)
        assert len(rows) == 100
        count += [(rows < 90).sum(), (rows >= 90).sum()]
        for row, number in zip(rows.tolist(), passes.tolist(), strict=True):
            assert number == seen.get(row, 0), "passes of a row count up, without a gap"
            seen[row] = number + 1
    assert count.tolist() == [1500, 1000]
    assert {seen[row] for row in range(90, 100)} == {100} and {seen[row] for row in range(90)} == {16, 17}


def test_groups_stay_together_in_another_order_each_pass():
    groups = np.repeat(np.arange(6), 10)
    order = Order([np.arange(60)], seed=1, groups=[groups])
    runs = []
    for epoch in (0, 1):
        rows = order.epoch(epoch)[0]
        assert sorted(rows) == list(range(60))
        changes = np.flatnonzero(np.diff(groups[rows])) + 1
        assert changes.tolist() == [10, 20, 30, 40, 50]
        runs.append(groups[rows][::10].tolist())
        assert rows[:10].tolist() != sorted(rows[:10])
    assert runs[0] != runs[1]
