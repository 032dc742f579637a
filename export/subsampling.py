"""The x8 subsampling for a graph."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.ops import HIDDEN
from speech.nn.conv import Depthwise8
from speech.nn.masks import valid


class HidingDepthwise8(nn.Module):
    """`Depthwise8` whose first convolution hides what is past a length by itself: padding is its second channel.

    Its output is the largest tensor of a model. To multiply that by a mask costs a CPU two changes of its layout.
    """

    weight: Tensor  # [C, 2, 3, 3]

    def __init__(self, plain: Depthwise8):
        super().__init__()
        self.plain, self.factor = plain, plain.factor
        hide = torch.zeros_like(plain.conv0.weight)
        hide[:, :, 1, 1] = HIDDEN  # in the centre of the kernel; the ReLU makes it zero
        self.register_buffer("weight", torch.cat([plain.conv0.weight.detach(), hide], 1))

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """features [B, T, F], zero past their lengths -> [B, T', C], lengths."""
        padding = ~valid(lengths, x.size(1))[:, None, :, None].expand(-1, -1, -1, x.size(2))
        y = torch.cat([x[:, None], padding.to(x.dtype)], 1)
        y = F.relu(F.conv2d(y, self.weight, self.plain.conv0.bias, stride=2, padding=1))
        lengths = (lengths - 1) // 2 + 1
        for i, (depthwise, pointwise) in enumerate(zip(self.plain.depthwise, self.plain.pointwise, strict=True)):
            if i:
                y = y * valid(lengths, y.size(2))[:, None, :, None]
            y = F.relu(pointwise(depthwise(y)))
            lengths = (lengths - 1) // 2 + 1
        return self.plain.out(y.transpose(1, 2).flatten(2)), lengths
