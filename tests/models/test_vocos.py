import pytest
import torch

from speech.errors import SpeechError
from speech.models.griffin_lim import GriffinLim
from speech.models.vocos import Vocos
from speech.nn.mel import LogMel
from speech.nn.mel_config import MelConfig, VocosConfig

MEL = MelConfig(sample_rate=8000, n_fft=256, win=256, hop=64, n_mels=40, high_hz=0.0)
CONFIG = VocosConfig(MEL, d_model=16, n_layers=2, d_ff=32, kernel=5)


def vocos() -> Vocos:
    torch.manual_seed(0)
    model = Vocos(CONFIG).eval()
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1 * torch.randn_like(p)  # biases too, which begin at zero
    return model


def mels(rows: int, frames: int) -> torch.Tensor:
    return torch.randn(rows, frames, MEL.n_mels, generator=torch.Generator().manual_seed(1)) - 5


def chirp() -> torch.Tensor:
    """[1, 8000] a tone that rises from 200 to 2600 Hz, with its octave and a little noise."""
    t = torch.arange(8000) / 8000
    phase = 2 * torch.pi * (200 * t + 1200 * t * t)
    noise = torch.randn(8000, generator=torch.Generator().manual_seed(0))
    return (0.3 * phase.sin() + 0.1 * (2 * phase).sin() + 0.01 * noise)[None]


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 2, 9])
def test_every_frame_is_a_hop_of_samples(frames):
    y = vocos()(mels(2, frames))
    assert y.shape == (2, frames * MEL.hop) and torch.isfinite(y).all() and y.abs().max() > 1e-3


@torch.no_grad()
def test_padding_changes_nothing():
    model, x, lengths = vocos(), mels(3, 12), torch.tensor([12, 7, 1])
    y = model(x, lengths)
    for row, n in enumerate(lengths.tolist()):
        torch.testing.assert_close(y[row, : n * MEL.hop], model(x[row : row + 1, :n])[0], rtol=0, atol=1e-5)
        assert (y[row, n * MEL.hop :] == 0).all()


@torch.no_grad()
def test_the_copy_for_export_makes_the_same_sound():
    model, x = vocos(), mels(2, 9)
    torch.testing.assert_close(model.convolutional()(x), model(x), rtol=0, atol=1e-5)


def test_a_huge_magnitude_is_clipped_and_its_gradient_finite():
    model, x = vocos(), mels(1, 3)
    with torch.no_grad():
        model.head.out.bias[: MEL.n_fft // 2 + 1] = 1000.0
    y = model(x)
    y.sum().backward()
    assert y.abs().max() < 100 * MEL.n_fft
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_a_kernel_without_centre_is_refused():
    with pytest.raises(SpeechError, match="^model.kernel 4 has no centre, set an odd one$"):
        VocosConfig(MEL, kernel=4)


def test_griffin_lim_makes_a_sound_of_the_same_mel():
    """Measured: mel L1 0.19 after 32 iterations, 0.71 with the random phases of the start."""
    mel, x = LogMel(MEL), chirp()
    true = mel(x)
    error = {n: float((mel(GriffinLim(MEL, iterations=n)(true)) - true).abs().mean()) for n in (0, 32)}
    assert error[32] < 0.25 < error[0], error


def test_griffin_lim_repeats_itself_and_rows_do_not_meet():
    griffin_lim, true = GriffinLim(MEL, iterations=4), LogMel(MEL)(torch.cat([chirp(), 0.5 * chirp().flip(1)]))
    y = griffin_lim(true)
    assert y.shape == (2, 8000 // 64 * 64) and torch.equal(y, griffin_lim(true))
    torch.testing.assert_close(y[1:], griffin_lim(true[1:]), rtol=0, atol=1e-5)
