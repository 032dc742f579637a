import numpy as np
import pytest

from speech.audio.pieces import OVERLAP_SECONDS, PAD_SECONDS, Cutter, Piece
from speech.audio.vad import FRAME, FRAME_SECONDS, RATE

SPEECH, PAUSE = 0.9, 0.1


class Told:
    """A detector that knows: the value of the samples of a frame is its probability."""

    def __init__(self):
        self.rest = np.zeros(0, np.float32)

    def push(self, samples, last=False):
        x = np.concatenate([self.rest, samples])
        whole = len(x) // FRAME * FRAME
        self.rest = x[whole:]
        out = x[:whole].reshape(-1, FRAME).mean(1)
        return np.concatenate([out, [self.rest.mean()]]) if last and len(self.rest) else out


def sound(*parts: tuple[float, float]) -> np.ndarray:
    """(seconds, probability) one after the other, in whole frames."""
    return np.concatenate([np.full(round(s / FRAME_SECONDS) * FRAME, p) for s, p in parts]).astype(np.float32)


def cut(x: np.ndarray, max_seconds: float, block: int = 65536) -> list[Piece]:
    cutter, found = Cutter(Told(), RATE, max_seconds), []
    for at in range(0, len(x), block):
        found += cutter.push(x[at : at + block])
    return found + list(cutter.push(x[:0], last=True))


def random_talk(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return sound(*[(s, p) for _ in range(30) for s, p in ((rng.exponential(4), SPEECH), (rng.exponential(0.4), PAUSE))])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("max_seconds", [2.0, 10.0, 30.0])
def test_every_frame_of_speech_is_in_the_piece_that_answers_for_it(seed, max_seconds):
    x = random_talk(seed)
    pieces = cut(x, max_seconds)
    covered = np.zeros(len(x) // FRAME, int)
    for before, piece in zip([None, *pieces], pieces, strict=False):
        start, n = round(piece.start * RATE), len(piece.waveform)
        assert n <= max_seconds * RATE and np.array_equal(piece.waveform, x[start : start + n])
        assert before is None or piece.first >= before.last
        a, b = max(piece.first, piece.start), min(piece.last, piece.start + n / RATE)
        covered[round(a / FRAME_SECONDS) : round(b / FRAME_SECONDS)] += 1
    spoken = x[::FRAME] == np.float32(SPEECH)
    assert (covered[spoken] == 1).mean() > 0.999 and covered.max() == 1  # a click of under 0.1 s may be left out


@pytest.mark.parametrize("block", [1000, 16384, 10**7])
def test_the_size_of_the_blocks_changes_nothing(block):
    x = random_talk(7)
    for a, b in zip(cut(x, 8.0), cut(x, 8.0, block), strict=True):
        assert (a.start, a.first, a.last) == (b.start, b.first, b.last) and np.array_equal(a.waveform, b.waveform)


def test_cuts_lie_in_the_longest_late_pause():
    x = sound((2, SPEECH), (1.2, PAUSE), (4, SPEECH), (0.3, PAUSE), (1, SPEECH), (0.6, PAUSE), (3, SPEECH))
    first, second = cut(x, 10.0)
    assert first.last == pytest.approx(8.5 + 0.3, abs=0.1) and first.last <= second.first == second.start
    assert first.start + len(first.waveform) / RATE == pytest.approx(8.5 + PAD_SECONDS, abs=0.1)
    assert second.start == pytest.approx(9.1 - PAD_SECONDS, abs=0.1)


def test_a_long_pause_parts_and_is_left_out():
    x = sound((5, PAUSE), (1, SPEECH), (20, PAUSE), (1, SPEECH), (3, PAUSE))
    found = [(p.start, p.start + len(p.waveform) / RATE) for p in cut(x, 30.0)]
    expected = [(5 - PAD_SECONDS, 6 + PAD_SECONDS), (26 - PAD_SECONDS, 27 + PAD_SECONDS)]
    np.testing.assert_allclose(found, expected, atol=0.1)


def test_speech_without_a_pause_is_cut_with_an_overlap():
    pieces = cut(sound((25, SPEECH)), 10.0)
    assert len(pieces) == 3
    for before, after in zip(pieces, pieces[1:], strict=False):
        assert before.last == after.first
        assert before.start + len(before.waveform) / RATE - before.last == pytest.approx(OVERLAP_SECONDS, abs=0.05)
        assert after.first - after.start == pytest.approx(OVERLAP_SECONDS, abs=0.05)


def test_no_speech_is_no_piece_and_keeps_nothing():
    cutter = Cutter(Told(), RATE, 10.0)
    for _ in range(100):
        assert list(cutter.push(sound((4, PAUSE)))) == []
        assert len(cutter.samples) < RATE
    assert list(cutter.push(sound((0.064, SPEECH)), last=True)) == []  # a click


def test_memory_holds_little_more_than_a_piece():
    cutter, longest = Cutter(Told(), RATE, 10.0), 0
    for at in range(0, len(x := random_talk(3)), 16000):
        list(cutter.push(x[at : at + 16000]))
        longest = max(longest, len(cutter.samples))
    assert longest <= 12 * RATE
