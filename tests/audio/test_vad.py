import os
from pathlib import Path

import numpy as np
import pytest

from speech.audio import vad
from speech.audio.decode import decode
from speech.audio.vad import FRAME, FRAME_SECONDS, RATE, Detectors, Energy, silero_path

SILERO = pytest.mark.skipif(silero_path() is None, reason="package silero-vad is not installed")


def bursts(rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Six seconds of faint noise, loud in 1-2 and 3-5; and where it is loud, per frame."""
    rng = np.random.default_rng(0)
    x = 0.001 * rng.normal(size=6 * rate)
    loud = np.zeros(6 * rate, bool)
    for a, b in ((1, 2), (3, 5)):
        loud[a * rate : b * rate] = True
    x[loud] *= 200
    frames = round(6 / FRAME_SECONDS)
    return x.astype(np.float32), loud[(np.arange(frames) * len(x)) // frames]


def in_blocks(detector, x: np.ndarray, size: int) -> np.ndarray:
    found = [detector.push(x[at : at + size]) for at in range(0, len(x), size)]
    return np.concatenate([*found, detector.push(x[:0], last=True)])


@pytest.mark.parametrize("rate", [8000, 16000, 22050])
def test_energy_finds_what_is_loud(rate):
    x, loud = bursts(rate)
    found = in_blocks(Energy(rate), x, rate) > 0.5
    assert len(found) == pytest.approx(len(loud), abs=2)
    n = min(len(found), len(loud))
    assert np.mean(found[:n] == loud[:n]) > 0.97


@pytest.mark.parametrize("kind", [pytest.param("silero", marks=SILERO), "energy"])
@pytest.mark.parametrize("rate", [16000, 8000])
def test_blocks_of_any_size_give_the_same(kind, rate, monkeypatch):
    if kind == "energy":
        monkeypatch.setattr(vad, "silero_path", lambda: None)
    x, _ = bursts(rate)
    makers = Detectors()
    whole = makers.make(rate).push(x, last=True)
    assert len(whole) == -(-len(x) * RATE // rate // FRAME)
    for size in (777, 16000):
        np.testing.assert_allclose(in_blocks(makers.make(rate), x, size), whole, atol=2e-3)


@SILERO
def test_silero_hears_people_and_neither_noise_nor_silence():
    if "SPEECH_CORPORA" not in os.environ:
        pytest.skip("SPEECH_CORPORA is not set")
    speech = decode(Path(os.environ["SPEECH_CORPORA"], "long_en/jfk_11s.wav"), RATE)
    makers, rng = Detectors(), np.random.default_rng(0)
    assert (makers.make(RATE).push(speech, last=True) > 0.5).mean() > 0.6
    for other in (np.zeros(RATE * 5), 0.1 * rng.normal(size=RATE * 5)):
        assert makers.make(RATE).push(other.astype(np.float32), last=True).max() < 0.35


def test_energy_stands_in_with_a_word_where_silero_is_not_installed(monkeypatch, caplog):
    monkeypatch.setattr(vad, "find_spec", lambda name: None)
    assert isinstance(Detectors().make(RATE), Energy)
    assert "package silero-vad is not installed" in caplog.text
