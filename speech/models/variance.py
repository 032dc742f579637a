"""What FastSpeech predicts for each phoneme, and how pitch and energy enter (arXiv 2006.04558 and 2006.06873)."""

import torch.nn.functional as F
from torch import Tensor, nn

from speech.models.fft_block import TimeConv
from speech.nn.tts_config import FastSpeechConfig


class Predictor(nn.Module):
    """Two times convolution of width 3, ReLU, layer norm, dropout; then linear: [B, N, C] -> [B, N, outputs]."""

    def __init__(self, config: FastSpeechConfig, outputs: int = 1):
        super().__init__()
        widths = [config.d_model, config.predictor_filters, config.predictor_filters]
        self.convs = nn.ModuleList(TimeConv(a, b, 3) for a, b in zip(widths[:-1], widths[1:], strict=True))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths[1:])
        self.dropout = nn.Dropout(config.predictor_dropout)
        self.out = nn.Linear(widths[-1], outputs)

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        """keep [B, N]; what comes out behind it is zero."""
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = self.dropout(norm(F.relu(conv(x * keep[..., None]))))
        return self.out(x) * keep[..., None]


class ValueEmbedding(nn.Module):
    """A number for each phoneme [B, N], zero on padding -> [B, N, C]."""

    def __init__(self, d_model: int):
        super().__init__()
        self.conv = TimeConv(1, d_model, 3)

    def forward(self, values: Tensor) -> Tensor:
        return self.conv(values[..., None])
