"""Every format of a speech answer is read back as the sound that went in, however it was cut."""

import numpy as np
import pytest

from serve.encoder import AT_ONCE, FORMATS, PCM_RATE, Encoder
from speech.audio.decode import decode, sniff

KINDS = {"aac": "aac"}  # of libav; the others are libsndfile's
HERTZ = 440.0


def tone(rate: int) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * HERTZ * np.arange(2 * rate) / rate)).astype(np.float32)


def encoded(format: str, rate: int, cuts: list[int]) -> list[bytes]:
    encoder = Encoder(format, rate)
    parts = [encoder.push(block) for block in np.split(tone(rate), cuts)]
    return [*parts, encoder.push(np.zeros(0, np.float32), last=True)]


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
@pytest.mark.parametrize("format", FORMATS)
def test_the_sound_comes_back(format, rate):
    data = b"".join(encoded(format, rate, [1000, rate]))
    if format == "pcm":
        heard, rate = np.frombuffer(data, "<i2") / 32768, PCM_RATE
    else:
        assert sniff(data[:16]) == KINDS.get(format, "sndfile")
        heard = decode(data, rate)
    exact = format in (*AT_ONCE, "opus", "pcm")  # frames of mp3 and aac fill up with silence
    assert len(heard) / rate == pytest.approx(2.0, abs=1e-3 if exact else 0.2)
    inner = heard[rate // 4 : -rate // 2] * np.hanning(len(heard) - rate // 4 - -(-rate // 2))
    assert np.argmax(np.abs(np.fft.rfft(inner))) * rate / len(inner) == pytest.approx(HERTZ, abs=1.0)
    assert np.abs(heard[rate // 2 : rate]).max() == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("format", AT_ONCE)
def test_nothing_is_lost_without_loss(format):
    data = b"".join(encoded(format, 8000, [3, 700]))
    np.testing.assert_allclose(decode(data, 8000), tone(8000), atol=1e-4)


@pytest.mark.parametrize("format", sorted(set(FORMATS) - set(AT_ONCE)))
def test_sound_flows_before_its_end(format):
    first, second, _ = encoded(format, 24000, [24000])
    assert len(first) > 1000 and len(second) > 1000
