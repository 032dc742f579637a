import librosa
import numpy as np
import pytest
import torch

from speech.errors import AudioError, SpeechError
from speech.nn.mel import LogMel
from speech.nn.mel_config import MelConfig

SMALL = MelConfig(sample_rate=8000, n_fft=256, win=200, hop=64, n_mels=20, high_hz=0.0)


def noise(rows: int, samples: int) -> torch.Tensor:
    return 0.1 * torch.randn(rows, samples, generator=torch.Generator().manual_seed(0))


def by_librosa(x: np.ndarray, c: MelConfig) -> np.ndarray:
    """HiFi-GAN's definition, in librosa's words and float64: [T, F]."""
    x = np.pad(x.astype(np.float64), (c.n_fft - c.hop) // 2, mode="reflect")
    spectrum = librosa.stft(x, n_fft=c.n_fft, hop_length=c.hop, win_length=c.win, window="hann", center=False)
    high = c.high_hz or c.sample_rate / 2
    bank = librosa.filters.mel(
        sr=c.sample_rate, n_fft=c.n_fft, n_mels=c.n_mels, fmin=c.low_hz, fmax=high, dtype=np.float64
    )
    return np.log(np.maximum(bank @ np.sqrt(np.abs(spectrum) ** 2 + 1e-9), 1e-5)).T


@pytest.mark.parametrize("config", [MelConfig(), SMALL], ids=["hifigan", "small"])
def test_it_is_what_librosa_makes(config):
    x = noise(1, 9000)
    x[:, 3000:6000] *= 1e-4  # quiet enough for both floors
    mels = LogMel(config)(x)
    assert mels.shape == (1, 9000 // config.hop, config.n_mels)
    assert np.abs(mels[0].numpy() - by_librosa(x[0].numpy(), config)).max() < 1e-4


def test_a_batch_is_its_rows_and_padding_changes_nothing():
    mel, lengths = LogMel(SMALL), torch.tensor([1500, 1000, 100, 63])
    x = noise(4, 1800)  # what is past a length is noise, not zeros
    mels = mel(x, lengths)
    for row, n in zip(range(3), lengths.tolist(), strict=False):
        frames = n // SMALL.hop
        torch.testing.assert_close(mels[row, :frames], mel(x[row : row + 1, :n])[0], rtol=0, atol=1e-5)
        assert (mels[row, frames:] == 0).all()
    assert (mels[3] == 0).all()  # shorter than a hop


def test_a_waveform_shorter_than_its_reflection_is_mirrored_again():
    x = noise(1, 70)  # the edges are 96 samples
    assert np.abs(LogMel(SMALL)(x)[0].numpy() - by_librosa(x[0].numpy(), SMALL)).max() < 1e-4


def test_gradients_are_finite_in_silence():
    x = torch.zeros(1, 640, requires_grad=True)
    LogMel(SMALL)(x).sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()


def test_settings_that_make_no_mel_are_refused():
    with pytest.raises(SpeechError, match="^mel: hop 300, win 200, n_fft 256 must be in rising order$"):
        MelConfig(n_fft=256, win=200, hop=300)
    with pytest.raises(SpeechError, match="n_fft 256 less hop 63 is odd"):
        MelConfig(n_fft=256, win=200, hop=63)
    with pytest.raises(SpeechError, match="high_hz 8000 must lie within half of sample_rate 8000"):
        MelConfig(sample_rate=8000)
    with pytest.raises(AudioError, match="^63 samples make no mel frame: give mel.hop 64 or more$"):
        LogMel(SMALL)(torch.zeros(1, 63))
