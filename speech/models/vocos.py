"""Vocos (arXiv 2306.00814): a vocoder that predicts a spectrum at the frame rate and inverts it once."""

import math
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speech.nn.istft import InverseSTFT
from speech.nn.masks import valid
from speech.nn.mel import LogMel
from speech.nn.mel_config import MelConfig, VocosConfig

MAX_MAGNITUDE = 100.0


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, LN, linear, GELU, linear, a scale for each channel, residual: [B, T, C] -> [B, T, C]."""

    def __init__(self, d_model: int, d_ff: int, kernel: int, scale: float):
        super().__init__()
        self.depthwise = nn.Conv1d(d_model, d_model, kernel, padding=kernel // 2, groups=d_model)
        self.norm = nn.LayerNorm(d_model)
        self.inner = nn.Linear(d_model, d_ff)
        self.outer = nn.Linear(d_ff, d_model)
        self.scale = nn.Parameter(torch.full((d_model,), scale))

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        """keep [B, T, 1] True on real frames: padding enters the convolution as zero."""
        y = self.depthwise((x * keep).transpose(1, 2)).transpose(1, 2)
        return x + self.scale * self.outer(F.gelu(self.inner(self.norm(y))))


class SpectrumHead(nn.Module):
    """[B, T, C] -> log-magnitudes and phases of a spectrum -> waveforms [B, T hop]."""

    def __init__(self, d_model: int, mel: MelConfig):
        super().__init__()
        self.out = nn.Linear(d_model, mel.n_fft + 2)
        self.inverse = InverseSTFT(mel.n_fft, mel.hop, mel.win, mel.edge)

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        log_magnitude, phase = self.out(x).float().chunk(2, 2)
        with torch.autocast(x.device.type, enabled=False):  # sound has more than the 8 bits of bf16
            magnitude = log_magnitude.clamp(max=math.log(MAX_MAGNITUDE)).exp()
            return self.inverse(magnitude * phase.cos(), magnitude * phase.sin(), keep)


class Vocos(nn.Module):
    """Log-mels [B, T, F] as `mel` makes them -> waveforms [B, T hop], zero past each length in frames."""

    def __init__(self, config: VocosConfig):
        super().__init__()
        self.config = config
        self.mel = LogMel(config.mel)
        d, kernel = config.d_model, config.kernel
        self.embed = nn.Conv1d(config.mel.n_mels, d, kernel, padding=kernel // 2)
        self.norm_in = nn.LayerNorm(d)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(d, config.d_ff, kernel, 1 / config.n_layers) for _ in range(config.n_layers)
        )
        self.norm_out = nn.LayerNorm(d)
        self.head = SpectrumHead(d, config.mel)
        init_weights(self)

    def convolutional(self) -> "Vocos":
        """A copy with the same waveforms that exports."""
        twin = deepcopy(self)
        twin.head.inverse = twin.head.inverse.convolutional()
        return twin

    def forward(self, mels: Tensor, lengths: Tensor | None = None) -> Tensor:
        if lengths is None:
            keep = torch.ones_like(mels[..., 0], dtype=torch.bool)
        else:
            keep = valid(lengths, mels.size(1)).expand(mels.size(0), -1)
        x = self.norm_in(self.embed((mels * keep[..., None]).transpose(1, 2)).transpose(1, 2))
        for block in self.blocks:
            x = block(x, keep[..., None])
        return self.head(self.norm_out(x), keep) * keep[..., None].expand(-1, -1, self.config.mel.hop).flatten(1)


def init_weights(model: nn.Module) -> None:
    """Small weights and no biases, as the paper's code; scales of blocks start at 1 / n_layers."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
