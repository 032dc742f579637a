import numpy as np
import pytest

from speech.audio.pitch import log_energy, pitch

RATE, HOP = 16000, 200


def glide(seconds: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """A sine with overtones from 120 to 240 Hz between two silences of 0.25 s, and its Hz at each frame's middle."""
    n = int(seconds * RATE)
    hz = np.geomspace(120, 240, n)
    phase = 2 * np.pi * np.cumsum(hz) / RATE
    x = np.pad(sum(np.sin(k * phase) / k for k in (1, 2, 3)), RATE // 4) * 0.1
    return x.astype(np.float32), np.pad(hz, RATE // 4)[HOP // 2 :: HOP]


def test_pitch_follows_a_glide_frame_by_frame_and_silence_has_none():
    x, hz = glide()
    found = pitch(x, RATE, HOP)
    assert len(found) == len(x) // HOP == len(hz)
    inside = np.zeros(len(hz), bool)
    inside[RATE // 4 // HOP + 5 : -RATE // 4 // HOP - 5] = True
    cents = 1200 * np.log2(found[inside] / hz[inside])
    assert abs(np.median(cents)) < 5 and np.abs(cents).max() < 30  # half a frame off would be 8 cents
    assert not found[: RATE // 4 // HOP - 4].any() and not found[-RATE // 4 // HOP + 4 :].any()


@pytest.mark.parametrize("samples", [HOP, HOP + 1, 5 * HOP - 1])
def test_there_are_as_many_frames_as_mels(samples):
    x = np.zeros(samples, np.float32)
    assert len(pitch(x, RATE, HOP)) == len(log_energy(x, 800, HOP)) == samples // HOP


def test_energy_is_that_of_the_window_around_the_middle_of_the_frame():
    x = np.zeros(20 * HOP, np.float32)
    x[10 * HOP : 11 * HOP] = 0.5
    found = log_energy(x, 2 * HOP, HOP)
    assert found[10] == pytest.approx(np.log(0.25 / 2), abs=1e-6)
    assert found[9] == found[11] == pytest.approx(np.log(0.25 / 4), abs=1e-6)
    assert np.all(found[:9] == np.log(1e-8)) and np.all(found[12:] == np.log(1e-8))
    assert log_energy(2 * x, 2 * HOP, HOP)[10] - found[10] == pytest.approx(np.log(4), abs=1e-6)
