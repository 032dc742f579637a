"""Discriminators of vocoders: each tells recordings from synthesis in another view of the waveform."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from speech.nn.mel import hann
from speech.nn.spectrum import FFTSpectrum

PERIODS = (2, 3, 5, 7, 11)
RESOLUTIONS = (512, 1024, 2048)  # n_fft = win; the hop is a quarter


class Verdict(NamedTuple):
    score: Tensor  # [B, places], high for recordings
    features: list[Tensor]  # [B, ...] of the layers before it


class ConvStack(nn.Module):
    """Convolutions of growing width with leaky ReLU, and a last one to a score: [B, 1, H, W] -> Verdict."""

    def __init__(self, widths: Sequence[int], kernels: Sequence[tuple[int, int]], strides: Sequence[tuple[int, int]]):
        super().__init__()
        self.layers = nn.ModuleList()
        for i, (width, kernel, stride) in enumerate(zip(widths, kernels, strides, strict=True)):
            before = widths[i - 1] if i else 1
            padding = (kernel[0] // 2, kernel[1] // 2)
            self.layers.append(weight_norm(nn.Conv2d(before, width, kernel, stride, padding)))
        last = (3, 1) if all(k[1] == 1 for k in kernels) else (3, 3)
        self.out = weight_norm(nn.Conv2d(widths[-1], 1, last, padding=(1, last[1] // 2)))

    def forward(self, x: Tensor) -> Verdict:
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.1)
            features.append(x)
        return Verdict(self.out(x).flatten(1), features)


class PeriodDiscriminator(nn.Module):
    """Samples that are `period` apart stand in a column (HiFi-GAN, arXiv 2010.05646 section 2.3)."""

    def __init__(self, period: int, channels: int):
        super().__init__()
        self.period = period
        widths = [channels * factor for factor in (1, 4, 16, 32, 32)]
        self.stack = ConvStack(widths, [(5, 1)] * 5, [(3, 1)] * 4 + [(1, 1)])

    def forward(self, waveforms: Tensor) -> Verdict:
        x = F.pad(waveforms, (0, -waveforms.size(1) % self.period))
        return self.stack(x.unflatten(1, (-1, self.period))[:, None])


class ResolutionDiscriminator(nn.Module):
    """Magnitudes of one short-time transform (UnivNet, arXiv 2106.07889 section 2.2)."""

    def __init__(self, n_fft: int, channels: int):
        super().__init__()
        self.spectrum = FFTSpectrum(hann(n_fft, n_fft), n_fft, n_fft // 4)
        kernels, strides = [(5, 7), (3, 5), (3, 5), (3, 3), (3, 3)], [(2, 2), (1, 2), (2, 2), (1, 2), (2, 2)]
        self.stack = ConvStack([channels] * 5, kernels, strides)

    def forward(self, waveforms: Tensor) -> Verdict:
        with torch.autocast(waveforms.device.type, enabled=False):
            magnitudes = (self.spectrum(waveforms.float()) + 1e-9).sqrt()
        return self.stack(magnitudes[:, None])


class Discriminators(nn.Module):
    """Waveforms [B, samples] -> a verdict of every period, then of every resolution."""

    def __init__(self, period_channels: int, resolution_channels: int):
        super().__init__()
        self.periods = nn.ModuleList(PeriodDiscriminator(period, period_channels) for period in PERIODS)
        self.resolutions = nn.ModuleList(ResolutionDiscriminator(n_fft, resolution_channels) for n_fft in RESOLUTIONS)

    def forward(self, waveforms: Tensor) -> list[Verdict]:
        return [view(waveforms) for view in (*self.periods, *self.resolutions)]
