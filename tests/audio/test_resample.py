import numpy as np
import pytest
from sounds import noise, peak_hz, tone

from speech.audio.resample import Resampler, resample

RATES = [8000, 16000, 44100]


@pytest.mark.parametrize("to_rate", RATES)
@pytest.mark.parametrize("from_rate", RATES)
def test_a_sine_keeps_its_length_pitch_and_shape(from_rate, to_rate):
    y = resample(tone(from_rate, hz=1000), from_rate, to_rate)
    assert y.dtype == np.float32 and len(y) == to_rate
    assert abs(peak_hz(y, to_rate) - 1000) < 0.5
    middle = slice(to_rate // 10, -to_rate // 10)  # the edges ring
    np.testing.assert_allclose(y[middle], tone(to_rate, hz=1000)[middle], atol=1e-4)


def test_what_the_lower_rate_cannot_hold_is_gone():
    y = resample(tone(44100, hz=6000), 44100, 8000)
    assert np.abs(y[800:-800]).max() < 1e-3


@pytest.mark.parametrize("from_rate, to_rate", [(8000, 16000), (44100, 16000), (16000, 44100), (12347, 16000)])
@pytest.mark.parametrize("size", [1, 777, 4096])
def test_block_by_block_is_the_whole(from_rate, to_rate, size):
    x = noise(from_rate, 0.3)
    stream = Resampler(from_rate, to_rate)
    parts = [stream.push(x[i : i + size]) for i in range(0, len(x), size)]
    parts.append(stream.push(np.zeros(0, np.float32), last=True))
    np.testing.assert_allclose(np.concatenate(parts), resample(x, from_rate, to_rate), atol=1e-6)


def test_nothing_stays_nothing():
    assert len(resample(np.zeros(0, np.float32), 8000, 16000)) == 0
    x = noise(16000, 0.1)
    np.testing.assert_array_equal(resample(x, 16000, 16000), x)
