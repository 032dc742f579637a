"""Waveform to log-mel features."""

import math
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speech.nn.config import FrontendConfig
from speech.nn.masks import valid
from speech.nn.spectrum import ConvSpectrum, FFTSpectrum


def _hz_to_mel(hz: Tensor, slaney: bool) -> Tensor:
    if not slaney:
        return 1127.0 * torch.log1p(hz / 700.0)
    return torch.where(hz < 1000.0, hz * 3 / 200, 15.0 + torch.log(hz.clamp(min=1000.0) / 1000.0) * 27 / math.log(6.4))


def _mel_to_hz(mel: Tensor) -> Tensor:
    return torch.where(mel < 15.0, mel * 200 / 3, 1000.0 * torch.exp((mel - 15.0) * math.log(6.4) / 27))


def slaney_mels(n_mels: int, n_fft: int, sample_rate: int, low: float, high: float) -> Tensor:
    """[n_mels, n_fft/2+1] triangles of unit area in Hz (Slaney's Auditory Toolbox)."""
    bins = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)
    ends = _hz_to_mel(torch.tensor([low, high], dtype=torch.float64), slaney=True)
    edges = _mel_to_hz(torch.linspace(ends[0], ends[1], n_mels + 2, dtype=torch.float64))
    return _triangles(bins, edges) * 2 / (edges[2:] - edges[:-2])[:, None]


def kaldi_mels(n_mels: int, n_fft: int, sample_rate: int, low: float, high: float) -> Tensor:
    """[n_mels, n_fft/2+1] triangles of unit height, straight on the mel scale."""
    bins = _hz_to_mel(torch.arange(n_fft // 2 + 1, dtype=torch.float64) * sample_rate / n_fft, slaney=False)
    ends = _hz_to_mel(torch.tensor([low, high], dtype=torch.float64), slaney=False)
    return _triangles(bins, torch.linspace(ends[0], ends[1], n_mels + 2, dtype=torch.float64))


def _triangles(bins: Tensor, edges: Tensor) -> Tensor:
    """[F], [n_mels + 2] -> [n_mels, F] of height 1, each from one edge over the next to the one after."""
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    return torch.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)).clamp(min=0)


class Frontend(nn.Module):
    """Waveforms [B, samples] in [-1, 1] -> normalised features [B, T, F], zero past each length, and lengths [B].

    kaldi: fbank as Kaldi's compute-fbank-feats without dither; mel: centred log-mel as NeMo's. Global statistics live
    in the buffers `mean` and `inv_std` and travel with the weights.
    """

    spectrum: FFTSpectrum | ConvSpectrum  # waveforms [B, samples] -> power [B, T, n_fft/2+1]
    bank: Tensor  # [F, n_fft/2+1]
    mean: Tensor  # [F]
    inv_std: Tensor  # [F]

    def __init__(self, config: FrontendConfig):
        super().__init__()
        self.config = config
        rate = config.sample_rate
        self.win, self.hop = round(rate * config.win_ms / 1000), round(rate * config.hop_ms / 1000)
        n_fft = 1 << (self.win - 1).bit_length()
        kaldi, high = config.kind == "kaldi", config.high_hz if config.high_hz > 0 else rate / 2
        window = torch.hann_window(self.win, periodic=False, dtype=torch.float64)
        if kaldi:
            window = window**0.85  # povey
        self.spectrum = FFTSpectrum(window * config.wave_scale, n_fft, self.hop, config.preemphasis if kaldi else None)
        bank = (kaldi_mels if kaldi else slaney_mels)(config.n_mels, n_fft, rate, config.low_hz, high)
        self.register_buffer("bank", bank.float(), persistent=False)
        self.register_buffer("mean", torch.zeros(config.n_mels))
        self.register_buffer("inv_std", torch.ones(config.n_mels))

    def convolutional(self) -> "Frontend":
        """A copy with the same features that exports: exporters have no FFT, or a slow one."""
        twin = deepcopy(self)
        assert isinstance(twin.spectrum, FFTSpectrum)
        twin.spectrum = twin.spectrum.convolutional()
        return twin

    def frames(self, samples: Tensor) -> Tensor:
        """Valid frames of so many samples."""
        if self.config.kind == "kaldi":
            return torch.clamp((samples - self.win) // self.hop + 1, min=0)
        return samples // self.hop

    def log_mel(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """[B, samples] -> [B, T, F] before normalisation; rows past a length are unspecified."""
        if self.config.kind == "kaldi":
            x = F.pad(waveforms, (0, max(0, self.win - waveforms.size(1))))
            return (self.spectrum(x) @ self.bank.T).clamp(min=torch.finfo(torch.float32).eps).log()
        half = self.win // 2
        x = F.pad(waveforms, (half + 1, self.win - half))
        x = x[:, 1:] - self.config.preemphasis * x[:, :-1]
        x = self.spectrum(x * valid(half + lengths, x.size(1)))
        return (x @ self.bank.T + 2**-24).log()

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(waveforms.device.type, enabled=False):  # bf16 would round quiet bins away
            x = self.log_mel(waveforms.float(), lengths)
        frames = self.frames(lengths)
        x = x[:, : max(1, waveforms.size(1) // self.hop)] if self.config.kind == "mel" else x
        keep = valid(frames, x.size(1))[..., None]
        if self.config.norm == "global":
            x = (x - self.mean) * self.inv_std
        elif self.config.norm == "utterance":
            count = frames[:, None, None]
            for _ in range(2):  # the sum of a thousand logs is rounded, that of what is left of them is not
                x = x - (x * keep).sum(1, keepdim=True) / count.clamp(min=1)
            variance = ((x * keep) ** 2).sum(1, keepdim=True) / (count - 1).clamp(min=1)
            x = x / (variance.sqrt() + 1e-5)
        return x * keep, frames
