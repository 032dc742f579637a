"""Sinusoids with interleaved sine and cosine, base 10000 ("Attention Is All You Need" section 3.5)."""

import math

import torch
from torch import Tensor


def sinusoid(positions: Tensor, d_model: int) -> Tensor:
    """[...] positions, negative ones too -> [..., C] float32."""
    rates = torch.exp(torch.arange(0, d_model, 2, device=positions.device) * (-math.log(10000.0) / d_model))
    angles = positions[..., None].float() * rates
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(-2)


def relative_positions(length: int, d_model: int, device: torch.device | None = None) -> Tensor:
    """[2T-1, C]: distances T-1 ... -(T-1), made on demand so that no length is too long."""
    return sinusoid(torch.arange(length - 1, -length, -1, device=device), d_model)
