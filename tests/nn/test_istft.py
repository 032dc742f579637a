import pytest
import torch

from speech.nn.istft import InverseSTFT, overlap_add
from speech.nn.mel import LogMel
from speech.nn.mel_config import MelConfig
from speech.nn.spectrum import FFTSpectrum

SIZES = [(1024, 256, 1024), (256, 64, 200), (128, 48, 128)]  # n_fft, hop, win


def spectra(n_fft: int, frames: int = 13) -> torch.Tensor:
    """[B, T, n_fft/2+1] of no waveform, as a network predicts them, with imaginary parts where a real one has none."""
    return torch.randn(2, frames, n_fft // 2 + 1, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("convolutional", [False, True], ids=["fft", "convolution"])
def test_it_is_torch_istft(size, convolutional):
    n_fft, hop, win = size
    x = spectra(n_fft)
    inverse = InverseSTFT(n_fft, hop, win, trim=n_fft // 2)
    inverse = inverse.convolutional() if convolutional else inverse
    expected = torch.istft(x.transpose(1, 2), n_fft, hop, win, torch.hann_window(win))
    torch.testing.assert_close(inverse(x.real, x.imag), expected, rtol=0, atol=1e-5)


def test_a_waveform_comes_back_from_the_frames_of_its_mel():
    config = MelConfig(sample_rate=8000, n_fft=256, win=256, hop=64, n_mels=20, high_hz=0.0)
    x = torch.randn(1, 20 * 64, generator=torch.Generator().manual_seed(0))
    mel = LogMel(config)
    assert isinstance(mel.spectrum, FFTSpectrum)
    frames = mel.spectrum.transform(mel.reflected(x, torch.tensor([x.size(1)])))
    back = InverseSTFT(256, 64, 256, config.edge)(frames.real, frames.imag)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("convolutional", [False, True], ids=["fft", "convolution"])
def test_frames_that_are_not_there_change_nothing(convolutional):
    x = spectra(256)
    inverse = InverseSTFT(256, 64, 200, trim=96)
    inverse = inverse.convolutional() if convolutional else inverse
    keep = torch.arange(13) < torch.tensor([[13], [7]])
    torch.testing.assert_close(
        inverse(x.real, x.imag, keep)[1:, : 7 * 64], inverse(x.real[1:, :7], x.imag[1:, :7]), rtol=0, atol=1e-5
    )


def test_frames_add_where_they_overlap():
    frames = torch.tensor([[[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]])
    assert overlap_add(frames, 2).tolist() == [[1.0, 2.0, 13.0, 20.0, 30.0]]
