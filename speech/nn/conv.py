"""Convolutions of the Conformer: the module inside each block and the two subsamplings in front of it."""

import torch.nn.functional as F
from torch import Tensor, nn

from speech.errors import SpeechError
from speech.nn.config import EncoderConfig
from speech.nn.masks import valid


class ConvModule(nn.Module):
    """LN, pointwise, GLU, depthwise, norm, swish, pointwise (arXiv 2005.08100 section 2.2). Padding enters as zero."""

    def __init__(self, config: EncoderConfig):
        super().__init__()
        d, inner, bias = config.d_model, config.d_model * config.conv_mult, config.conv_bias
        self.norm_in = nn.LayerNorm(d)
        self.pointwise1 = nn.Conv1d(d, 2 * inner, 1, bias=bias)
        kernel = config.conv_kernel
        if kernel % 2 == 0:
            raise SpeechError(f"conv_kernel {kernel} is even: it has no centre, set an odd one")
        self.depthwise = nn.Conv1d(inner, inner, kernel, padding=(kernel - 1) // 2, groups=inner, bias=bias)
        self.norm = nn.LayerNorm(inner) if config.conv_norm == "layer" else nn.BatchNorm1d(inner)
        self.pointwise2 = nn.Conv1d(inner, d, 1, bias=bias)

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        """x [B, T, C], keep [B, T] True on real frames."""
        y = F.glu(self.pointwise1(self.norm_in(x).transpose(1, 2)), dim=1)
        y = self.depthwise(y * keep[:, None])
        if isinstance(self.norm, nn.LayerNorm):
            y = self.norm(y.transpose(1, 2)).transpose(1, 2)
        else:
            y = self.norm(y)
        return self.pointwise2(F.silu(y)).transpose(1, 2)


class Conv4(nn.Module):
    """x4: two full 2D convolutions without padding after six zero frames; ceil(L / 4) frames are valid.

    With `length_rule` trt the zero frames are not counted, which hides one to two real frames.
    """

    factor = 4

    def __init__(self, n_mels: int, channels: int, d_model: int, length_rule: str = "ceil"):
        super().__init__()
        self.length_rule = length_rule
        self.conv = nn.ModuleList([nn.Conv2d(1, channels, 3, 2), nn.Conv2d(channels, channels, 3, 2)])
        width = ((n_mels - 1) // 2 - 1) // 2
        self.out = nn.Linear(channels * width, d_model)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """features [B, T, F], zero past their length -> [B, T', C], lengths."""
        y = F.pad(x, (0, 0, 0, 6))[:, None]
        for conv in self.conv:
            y = F.relu(conv(y))
        if self.length_rule == "trt":
            lengths = (((lengths - 3) // 2 + 1 - 3) // 2 + 1).clamp(min=0)
        else:
            lengths = (lengths + 3) // 4
        return self.out(y.transpose(1, 2).flatten(2)), lengths


class Depthwise8(nn.Module):
    """x8, depthwise-separable (arXiv 2305.05084). What is past a length is zero to every stride, as in NeMo."""

    factor = 8

    def __init__(self, n_mels: int, channels: int, d_model: int):
        super().__init__()
        self.conv0 = nn.Conv2d(1, channels, 3, 2, 1)
        self.depthwise = nn.ModuleList(nn.Conv2d(channels, channels, 3, 2, 1, groups=channels) for _ in range(2))
        self.pointwise = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(2))
        self.out = nn.Linear(channels * -(-n_mels // 8), d_model)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """features [B, T, F] -> [B, T', C], lengths."""

        def masked(y: Tensor) -> Tensor:
            return y * valid(lengths, y.size(2))[:, None, :, None]

        y = F.relu(self.conv0(masked(x[:, None])))
        lengths = (lengths - 1) // 2 + 1
        for depthwise, pointwise in zip(self.depthwise, self.pointwise, strict=True):
            y = F.relu(pointwise(depthwise(masked(y))))
            lengths = (lengths - 1) // 2 + 1
        return self.out(y.transpose(1, 2).flatten(2)), lengths
