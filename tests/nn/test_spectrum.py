import pytest
import torch

from speech.nn import spectrum
from speech.nn.config import FrontendConfig
from speech.nn.frontend import Frontend

close = torch.testing.assert_close
CONFIGS = {
    "kaldi": FrontendConfig(kind="kaldi", wave_scale=32768, low_hz=20, norm="none"),
    "mel": FrontendConfig(kind="mel", norm="none"),
}
both = pytest.mark.parametrize("kind", ["kaldi", "mel"])


def wave(seconds: float = 5.0, level: float = 0.1, offset: float = 0.0) -> torch.Tensor:
    """[2, samples]: noise that falls by 6 dB an octave and swells four times a second, as speech does, in 16 bits."""
    n = int(seconds * 16000)
    noise = torch.fft.rfft(torch.randn(2, n, generator=torch.Generator().manual_seed(0)))
    tilted = torch.fft.irfft(noise / (1 + torch.arange(n // 2 + 1) / (100 * seconds)), n)
    x = tilted / tilted.std() * (1 + torch.sin(torch.arange(n) * (2 * torch.pi * 4 / 16000)))
    return ((level * x + offset) * 32768).round() / 32768


def log_mel(frontend: Frontend, x: torch.Tensor) -> torch.Tensor:
    return frontend.log_mel(x, torch.full((len(x),), x.size(1)))


@both
@pytest.mark.parametrize("level", [0.1, 1e-4])  # 1e-4 is three steps of 16 bits
def test_fft_equals_convolution(kind, level):
    frontend = Frontend(CONFIGS[kind])
    x = wave(level=level)
    close(log_mel(frontend, x), log_mel(frontend.convolutional(), x), atol=1e-4, rtol=0)


@both
def test_a_large_offset_costs_no_precision(kind):
    x = wave(level=1e-3, offset=0.1)
    error = log_mel(Frontend(CONFIGS[kind]), x) - log_mel(Frontend(CONFIGS[kind]).double(), x.double())
    assert error.abs().quantile(0.999) < 5e-4  # the convolution: 3e-3 with kind kaldi


@both
def test_blocks_change_nothing(kind, monkeypatch):
    frontend = Frontend(CONFIGS[kind])
    x = wave(seconds=1.0)
    whole = log_mel(frontend, x)
    for frames in (1, 2, 14, 200):
        monkeypatch.setattr(spectrum, "CACHED_FRAMES", frames)
        close(log_mel(frontend, x), whole, atol=1e-5, rtol=0)


@both
def test_gradients_are_those_of_the_convolution(kind):
    frontend = Frontend(CONFIGS[kind])
    gradients = []
    for form in (frontend, frontend.convolutional()):
        x = wave(seconds=0.5).requires_grad_()
        gradients += torch.autograd.grad(log_mel(form, x).sum(), x)
    scale = gradients[1].abs().max()
    assert 0 < scale < torch.inf
    close(gradients[0] / scale, gradients[1] / scale, atol=1e-4, rtol=0)


@both
def test_the_convolutional_copy_leaves_the_original(kind):
    frontend = Frontend(CONFIGS[kind])
    copy = frontend.convolutional()
    assert isinstance(frontend.spectrum, spectrum.FFTSpectrum) and isinstance(copy.spectrum, spectrum.ConvSpectrum)


@pytest.mark.gpu
@both
def test_cuda_equals_cpu(kind):
    frontend, x = Frontend(CONFIGS[kind]), wave()
    close(log_mel(frontend.cuda(), x.cuda()).cpu(), log_mel(Frontend(CONFIGS[kind]), x), atol=1e-4, rtol=0)
