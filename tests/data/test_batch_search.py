import numpy as np
import pytest

from speech.data.batch_search import MOST_PROBES, Line, Probe, _search, find_batch_sizes, monotone
from speech.errors import SpeechError

GIB = 2.0**30
EDGES = [(d, u) for d in (2.0, 4.0, 7.0, 12.0, 20.0, 40.0) for u in (int(4 * d) + 6, int(9 * d) + 10)]
LIMIT = 40 * GIB


def slope(seconds, tokens):
    """Bytes per cut: linear and quadratic parts of both lengths, some hundred MB at 10 s."""
    return 1e7 * seconds + 3e5 * seconds**2 + 1.5e5 * tokens + 200 * tokens**2 + 3e3 * seconds * tokens


class Memory:
    """A made-up device: base + slope * batch, with what may go wrong."""

    def __init__(self, base=3 * GIB, noise=0.0, jump=None, knows_peak=True):
        self.base, self.noise, self.jump, self.knows_peak = base, noise, jump, knows_peak
        self.rng, self.calls = np.random.default_rng(0), []

    def peak(self, seconds, tokens, batch):
        peak = self.base + slope(seconds, tokens) * batch
        if self.jump and batch > self.jump[0] * self.most(seconds, tokens, jump=False):
            peak += self.jump[1] * LIMIT
        return peak

    def most(self, seconds, tokens, jump=True):
        n = int((LIMIT - self.base) / slope(seconds, tokens))
        while jump and self.peak(seconds, tokens, n) > LIMIT:
            n -= 1
        return n

    def __call__(self, seconds, tokens, batch):
        self.calls.append((seconds, tokens, batch))
        peak = self.peak(seconds, tokens, batch) * (1 + self.noise * self.rng.standard_normal())
        if peak > LIMIT:
            return Probe(seconds, tokens, batch, "oom", peak if self.knows_peak else None)
        return Probe(seconds, tokens, batch, "ok", peak)

    def probes(self):
        return max(sum((d, u) == edge for d, u, _ in self.calls) for edge in EDGES)


@pytest.mark.parametrize("knows_peak", [True, False])
def test_sizes_are_within_five_percent_in_few_probes(knows_peak):
    memory = Memory(knows_peak=knows_peak)
    sizes, probes = find_batch_sizes(EDGES, memory, LIMIT)
    for size, (d, u) in zip(sizes, EDGES, strict=True):
        assert 0.95 * memory.most(d, u) - 1 <= size <= memory.most(d, u)
    assert memory.probes() <= MOST_PROBES and len(probes) == len(memory.calls) <= 2.5 * len(EDGES)


@pytest.mark.parametrize("knows_peak", [True, False])
def test_noise_of_a_percent_is_borne(knows_peak):
    memory = Memory(noise=0.01, knows_peak=knows_peak)
    sizes, _ = find_batch_sizes(EDGES, memory, LIMIT)
    for size, (d, u) in zip(sizes, EDGES, strict=True):
        assert 0.93 * memory.most(d, u) - 1 <= size <= 1.03 * memory.most(d, u)
    assert memory.probes() <= MOST_PROBES


@pytest.mark.parametrize("at, height", [(0.5, 0.1), (0.5, 0.25), (0.9, 0.05), (0.95, 0.5)])
@pytest.mark.parametrize("knows_peak", [True, False])
def test_a_jump_is_found(at, height, knows_peak):
    memory = Memory(jump=(at, height), knows_peak=knows_peak)
    sizes, _ = find_batch_sizes(EDGES, memory, LIMIT)
    for size, (d, u) in zip(sizes, EDGES, strict=True):
        assert 0.92 * memory.most(d, u) - 1 <= size <= memory.most(d, u)
    assert memory.probes() <= MOST_PROBES


def test_where_one_cut_does_not_fit_the_answer_is_zero_and_the_rest_is_found():
    memory = Memory(base=LIMIT - 1.2 * slope(12.0, 118))
    sizes, _ = find_batch_sizes(EDGES, memory, LIMIT)
    for size, (d, u) in zip(sizes, EDGES, strict=True):
        assert size == pytest.approx(memory.most(d, u), abs=1) and (size == 0) == (memory.most(d, u) == 0)
    assert sizes[-1] == 0 and sizes[0] >= 5


class Faulty(Memory):
    def __init__(self, outcome, times):
        super().__init__()
        self.outcome, self.times = outcome, times

    def __call__(self, seconds, tokens, batch):
        probe = super().__call__(seconds, tokens, batch)
        if len(self.calls) > 5 and self.times:
            self.times -= 1
            return Probe(seconds, tokens, batch, self.outcome, note="signal 9")
        return probe


@pytest.mark.parametrize("outcome", ["dead", "timeout"])
def test_a_dead_probe_is_tried_again_once_and_then_told(outcome):
    expected, _ = find_batch_sizes(EDGES, Memory(), LIMIT)
    once = Faulty(outcome, 1)
    sizes, probes = find_batch_sizes(EDGES, once, LIMIT)
    assert sizes == expected and [p.outcome for p in probes].count(outcome) == 1
    with pytest.raises(SpeechError, match=f"cuts of 20 s and .* tokens ended with '{outcome}': signal 9"):
        find_batch_sizes(EDGES, Faulty(outcome, 2), LIMIT)


def test_an_error_is_not_tried_again():
    faulty = Faulty("error", 1)
    with pytest.raises(SpeechError, match="ended with 'error': signal 9"):
        find_batch_sizes(EDGES, faulty, LIMIT)
    assert len(faulty.calls) == 6


def test_the_largest_bin_comes_first_and_answers_are_told():
    memory, told = Memory(), []
    find_batch_sizes(EDGES, memory, LIMIT, lambda i, n: told.append(i))
    assert memory.calls[0] == (40.0, 370, 1) and told == list(range(len(EDGES)))[::-1]


def test_a_bin_gets_at_least_what_fits_in_a_larger_one():
    edges = [(2.0, 10), (2.0, 20), (4.0, 15), (4.0, 30)]
    assert monotone(edges, [5, 9, 7, 3]) == [9, 9, 7, 3]


@pytest.mark.parametrize("factor", [1.1, 4, 40])
def test_a_guess_that_noise_made_far_too_high_is_left(factor):
    memory, edge = Memory(knows_peak=False), EDGES[-1]
    guess = Line(memory.base, slope(*edge) / factor)
    size, _ = _search(lambda n: memory(*edge, n), LIMIT, guess)
    assert 0 < size <= memory.most(*edge)
