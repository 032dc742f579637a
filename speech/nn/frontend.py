"""Waveform to log-mel features, as torch modules whose transform is one convolution, so that they export."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speech.nn.config import FrontendConfig
from speech.nn.masks import valid


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
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = torch.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)).clamp(min=0)
    return triangles * 2 / (right - left)


def kaldi_mels(n_mels: int, n_fft: int, sample_rate: int, low: float, high: float) -> Tensor:
    """[n_mels, n_fft/2+1] triangles of unit height, straight on the mel scale."""
    bins = _hz_to_mel(torch.arange(n_fft // 2 + 1, dtype=torch.float64) * sample_rate / n_fft, slaney=False)
    ends = _hz_to_mel(torch.tensor([low, high], dtype=torch.float64), slaney=False)
    edges = torch.linspace(ends[0], ends[1], n_mels + 2, dtype=torch.float64)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    return torch.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)).clamp(min=0)


def dft_kernel(size: int, n_fft: int) -> Tensor:
    """[2 (n_fft/2+1), size]: real rows, then imaginary rows, float64."""
    angle = 2 * math.pi / n_fft * torch.outer(torch.arange(n_fft // 2 + 1), torch.arange(size)).double()
    return torch.cat([angle.cos(), -angle.sin()])


class Frontend(nn.Module):
    """Waveforms [B, samples] in [-1, 1] -> normalised features [B, T, F], zero past each length, and lengths [B].

    kaldi: fbank as Kaldi's compute-fbank-feats without dither; mel: centred log-mel as NeMo's. Global statistics live
    in the buffers `mean` and `inv_std` and travel with the weights.
    """

    kernel: Tensor  # [2 (n_fft/2+1), 1, win]
    bank: Tensor  # [F, n_fft/2+1]
    mean: Tensor  # [F]
    inv_std: Tensor  # [F]

    def __init__(self, config: FrontendConfig):
        super().__init__()
        self.config = config
        rate = config.sample_rate
        self.win, self.hop = round(rate * config.win_ms / 1000), round(rate * config.hop_ms / 1000)
        self.n_fft = 1 << (self.win - 1).bit_length()
        high = config.high_hz if config.high_hz > 0 else rate / 2
        mels = kaldi_mels if config.kind == "kaldi" else slaney_mels
        bank = mels(config.n_mels, self.n_fft, rate, config.low_hz, high).float()
        kernel = self._kaldi_kernel() if config.kind == "kaldi" else self._mel_kernel()
        self.register_buffer("kernel", kernel.float()[:, None], persistent=False)
        self.register_buffer("bank", bank, persistent=False)
        self.register_buffer("mean", torch.zeros(config.n_mels))
        self.register_buffer("inv_std", torch.ones(config.n_mels))

    def _kaldi_kernel(self) -> Tensor:
        """DC removal, pre-emphasis and povey window are linear in the frame: all of them fold into the DFT."""
        n = self.win
        eye = torch.eye(n, dtype=torch.float64)
        remove_dc = eye - 1 / n
        emphasis = eye - self.config.preemphasis * torch.diag(torch.ones(n - 1, dtype=torch.float64), -1)
        povey = torch.hann_window(n, periodic=False, dtype=torch.float64) ** 0.85  # zero at both ends
        return dft_kernel(n, self.n_fft) @ (povey[:, None] * (emphasis @ remove_dc))

    def _mel_kernel(self) -> Tensor:
        return dft_kernel(self.win, self.n_fft) * torch.hann_window(self.win, periodic=False, dtype=torch.float64)

    def frames(self, samples: Tensor) -> Tensor:
        """Valid frames of so many samples."""
        if self.config.kind == "kaldi":
            return torch.clamp((samples - self.win) // self.hop + 1, min=0)
        return samples // self.hop

    def log_mel(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """[B, samples] -> [B, T, F] before normalisation; rows past a length are unspecified."""
        x = waveforms * self.config.wave_scale
        if self.config.kind == "mel":
            emphasised = torch.cat([x[:, :1], x[:, 1:] - self.config.preemphasis * x[:, :-1]], 1)
            x = F.pad(emphasised * valid(lengths, x.size(1)), (self.win // 2, self.win // 2))
        else:
            x = F.pad(x, (0, max(0, self.win - x.size(1))))
        real, imaginary = F.conv1d(x[:, None], self.kernel, stride=self.hop).chunk(2, 1)
        power = self.bank @ (real * real + imaginary * imaginary)
        floor = torch.finfo(torch.float32).eps
        logs = (power + 2**-24).log() if self.config.kind == "mel" else power.clamp(min=floor).log()
        return logs.transpose(1, 2)

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(waveforms.device.type, enabled=False):  # bf16 would round quiet bins away
            x = self.log_mel(waveforms.float(), lengths)
        frames = self.frames(lengths)
        x = x[:, : max(1, int(waveforms.size(1) // self.hop))] if self.config.kind == "mel" else x
        keep = valid(frames, x.size(1))[..., None]
        if self.config.norm == "global":
            x = (x - self.mean) * self.inv_std
        elif self.config.norm == "utterance":
            count = frames[:, None, None]
            mean = (x * keep).sum(1, keepdim=True) / count.clamp(min=1)
            variance = (((x - mean) * keep) ** 2).sum(1, keepdim=True) / (count - 1).clamp(min=1)
            x = (x - mean) / (variance.sqrt() + 1e-5)
        return x * keep, frames
