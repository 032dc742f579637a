import json

import numpy as np
import pytest

from speech.data.bins import Bins, budget_sizes, estimate_bins, profile_sizes
from speech.errors import SpeechError

EXAMPLE = Bins([10.0, 20.0], [[5, 10], [12, 18]], [1.6, 1.2], {}, {})


def arrays(*pairs):
    seconds, tokens = np.array(pairs, float).T
    return seconds, tokens.astype(int)


def synthetic(n, seed=0):
    rng = np.random.default_rng(seed)
    seconds = np.clip(rng.lognormal(1.9, 0.65, n), 0.6, 30)
    words = np.maximum(1, np.round(seconds * np.clip(rng.normal(2.3, 0.6, n), 0.5, 4.5)))
    return seconds, (np.round(3.1 * words) + 10).astype(int)


def test_strict_looks_in_its_bin_of_seconds_and_lenient_in_longer_ones():
    assert EXAMPLE.faults(*arrays((8, 11))) == 2 and EXAMPLE.faults(*arrays((8, 11)), strict=False) == 0
    assert EXAMPLE.edges[EXAMPLE.covering(*arrays((8, 11)))[0]] == (20.0, 12)


@pytest.mark.parametrize("strict", [True, False])
def test_a_cut_at_an_edge_fits_and_one_past_the_last_does_not(strict):
    cuts = arrays((10, 10), (10, 5), (10.001, 5), (20, 18), (20.001, 18), (20, 19))
    assert EXAMPLE.covering(*cuts).tolist() == [1, 0, 2, 3, -1, -1]
    assert EXAMPLE.faults(*cuts, strict=strict).tolist() == [0, 0, 0, 0, 1, 2]


@pytest.mark.parametrize("strict", [True, False])
def test_forty_tokens_a_second_are_refused_in_both_modes(strict):
    assert EXAMPLE.faults(*arrays((0.25, 10)), strict=strict) == 3


def test_equal_seconds_by_hand():
    # 24 s in 3 bins of 8 s: the sum before a cut must exceed 8 to begin a bin
    seconds = np.array([1, 2, 3, 3, 4, 5, 6.0])
    bins = estimate_bins(seconds, np.full(7, 4), 3, 1)
    assert bins.seconds == [4.0, 6.0]  # 1+2+3+3 = 9 > 8 before 4; then 4+5 = 9 > 8 before 6, which is the last edge
    assert estimate_bins(seconds[:6], np.full(6, 4), 2, 1).seconds == [5.0]  # 13 > 9 before 5: the last edge too


def test_equal_edges_become_one_bin_with_the_token_bins_of_both():
    seconds = np.array([1.0] * 10 + [5.0] * 90)
    bins = estimate_bins(seconds, np.arange(100) + 1, 4, 2)
    assert bins.seconds == [5.0] and len(bins.tokens[0]) > 2 * 2
    apart = estimate_bins(np.linspace(1, 5, 100), np.arange(100) + 1, 4, 2)
    assert [len(row) for row in apart.tokens] == [2] * len(apart.seconds)


def test_one_cut_and_constant_rates_keep_everything():
    assert estimate_bins(*arrays((3.3333333, 7)), 30, 2).faults(*arrays((3.3333333, 7))) == 0
    seconds = np.arange(1, 50) / 2
    bins = estimate_bins(seconds, (seconds * 6).astype(int), 5, 3)
    assert not bins.faults(seconds, (seconds * 6).astype(int)).any()
    assert all(np.isfinite(bins.max_tps))


def test_every_cut_finds_its_bin_but_those_far_above_the_mean_rate():
    seconds, tokens = synthetic(5000)
    tokens[[7, 1000]] = (40 * seconds[[7, 1000]]).astype(int)
    bins = estimate_bins(seconds, tokens, 30, 2)
    faults = bins.faults(seconds, tokens)
    assert faults[7] and faults[1000] and 2 <= (faults > 0).sum() < 20
    home = np.searchsorted(bins.seconds, seconds)
    rate = tokens / seconds
    for i in range(len(bins.seconds)):  # what is left out is what lies above 4 deviations, by itself
        mine = rate[home == i]
        assert (faults[home == i] > 0).tolist() == (mine - mine.mean() > 4 * mine.std()).tolist()
    assert len(set(bins.edges)) == len(bins.edges)
    share = [seconds[home == i].sum() for i in range(len(bins.seconds) - 1)]  # many cuts have the last edge
    assert max(share) < 1.1 * seconds.sum() / 30


def test_edges_are_rounded_up():
    seconds = np.array([1.00049, 2.00001, 3.0000001, 4.9999])
    bins = estimate_bins(seconds, np.full(4, 3), 4, 1)
    assert not bins.faults(seconds, np.full(4, 3)).any()
    assert all(edge == round(edge, 3) for edge in bins.seconds)


def test_the_covering_bin_exists_for_any_two_kept_cuts():
    seconds, tokens = synthetic(2000)
    bins = estimate_bins(seconds, tokens, 20, 3)
    good = bins.faults(seconds, tokens) == 0
    a, b = np.random.default_rng(0).choice(np.flatnonzero(good), (2, 4000))
    longest, most = np.maximum(seconds[a], seconds[b]), np.maximum(tokens[a], tokens[b])
    index = bins.covering(longest, most)
    assert (index >= 0).all()
    edges = np.array(bins.edges)[index]
    assert (edges[:, 0] >= longest).all() and (edges[:, 1] >= most).all()


def test_no_buckets_are_refused():
    with pytest.raises(SpeechError, match="buckets 0 and sub_buckets 2 must be at least 1"):
        estimate_bins(*arrays((1, 1)), 0, 2)


def test_saved_bins_are_the_same_and_refuse_another_tokenizer(tmp_path):
    made_for = {"tokenizer": "abc", "data.max_seconds": 30.0}
    bins = estimate_bins(*synthetic(300), 5, 2, made_for)
    bins.save(tmp_path / "bins.json")
    assert Bins.load(tmp_path / "bins.json", made_for) == bins
    with pytest.raises(SpeechError, match="tokenizer was abc, is xyz. Make them again with speech data bins") as error:
        Bins.load(tmp_path / "bins.json", {**made_for, "tokenizer": "xyz"})
    assert "max_seconds" not in str(error.value)
    with pytest.raises(SpeechError, match="cannot be read"):
        Bins.load(tmp_path / "none.json", made_for)
    for broken in ("[]", "{", json.dumps({"seconds": [1]}), json.dumps({"seconds": [1, 2], "tokens": [[1]]})):
        (tmp_path / "bad.json").write_text(broken)
        with pytest.raises(SpeechError, match="not such a file"):
            Bins.load(tmp_path / "bad.json", made_for)


def test_the_budget_counts_long_cuts_more():
    sizes = budget_sizes(360.0, 15.0)(np.array([1.0, 15.0, 30.0, 400.0]), np.zeros(4))
    assert sizes.tolist() == [337, 12, 4, 1]
    assert budget_sizes(20.0, 0.0)(np.array([2.0, 2.1]), np.zeros(2)).tolist() == [10, 9]


def test_a_profile_gives_the_size_of_the_covering_bin():
    sizes = profile_sizes(EXAMPLE, [8, 6, 4, 2])
    assert sizes(*arrays((3, 3), (3, 6), (12, 3), (8, 11), (20, 18), (21, 3))).tolist() == [8, 6, 4, 4, 2, 0]
