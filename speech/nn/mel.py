"""Waveform to the log-mel spectrogram of speech synthesis: one definition for acoustic models, vocoder and export."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speech.errors import AudioError
from speech.nn.frontend import slaney_mels
from speech.nn.masks import valid
from speech.nn.mel_config import MelConfig
from speech.nn.spectrum import FFTSpectrum


def hann(win: int, n_fft: int) -> Tensor:
    """[n_fft] float64, a periodic window of `win` samples in the middle."""
    spare = n_fft - win
    return F.pad(torch.hann_window(win, dtype=torch.float64), (spare // 2, spare - spare // 2))


class LogMel(nn.Module):
    """Waveforms [B, samples] in [-1, 1] -> natural log of slaney mels [B, samples // hop, F], zero past each length.

    As HiFi-GAN (arXiv 2010.05646) computes it: (n_fft - hop) / 2 samples reflected at both ends, so that frame t stands
    on samples t hop ... (t + 1) hop; magnitudes, not powers; floor 1e-5. Has gradients and no weights.
    """

    bank: Tensor  # [F, n_fft/2+1]

    def __init__(self, config: MelConfig):
        super().__init__()
        self.config = config
        self.spectrum = FFTSpectrum(hann(config.win, config.n_fft), config.n_fft, config.hop)
        bank = slaney_mels(config.n_mels, config.n_fft, config.sample_rate, config.low_hz, config.top_hz)
        self.register_buffer("bank", bank.float(), persistent=False)

    def frames(self, samples: Tensor) -> Tensor:
        """Frames of so many samples."""
        return samples // self.config.hop

    def reflected(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """[B, samples] -> [B, samples + n_fft - hop], each row mirrored at its own end and as often as it takes."""
        edge = self.config.edge
        place = torch.arange(-edge, waveforms.size(1) + edge, device=waveforms.device).abs()
        period = (2 * (lengths[:, None] - 1)).clamp(min=1)
        place = place % period
        return waveforms.gather(1, torch.minimum(place, period - place))

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        if waveforms.size(1) < self.config.hop:
            raise AudioError(f"{waveforms.size(1)} samples make no mel frame: give mel.hop {self.config.hop} or more")
        if lengths is None:
            lengths = torch.full((len(waveforms),), waveforms.size(1), device=waveforms.device)
        with torch.autocast(waveforms.device.type, enabled=False):  # bf16 would round quiet bins away
            magnitude = (self.spectrum(self.reflected(waveforms.float(), lengths)) + 1e-9).sqrt()
            x = (magnitude @ self.bank.T).clamp(min=1e-5).log()
        return x * valid(self.frames(lengths), x.size(1))[..., None]
