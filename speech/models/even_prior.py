"""Texts are spoken about evenly: what CTC may believe in its first steps, while it knows no sound yet."""

import torch
from torch import Tensor

from speech.nn.masks import valid

LOUD = 0.35  # of the way from the quiet (5th percentile) to the loud frames (95th): speech


def even_prior(features: Tensor, lengths: Tensor, frames: int, factor: int, text_lengths: Tensor) -> Tensor:
    """Features [B, S, F] -> [B, T, U]: log prior of token u at frame t of the encoder, 0 at the likeliest token.

    The encoder has T `frames`, each of `factor` of the features. Tokens share the loud frames evenly, so that silence
    counts for none; a Gaussian about that place, as wide as the beta-binomial prior of aligners (arXiv 2108.10447).
    Behind a length the values hold no meaning.
    """
    keep = valid(lengths, features.size(1))
    loudness = features.detach().float().mean(-1).masked_fill(~keep, torch.nan)
    quiet, loud = torch.nanquantile(loudness, torch.tensor([0.05, 0.95], device=features.device), dim=1)
    speech = (loudness > (quiet + LOUD * (loud - quiet))[:, None]) + 1e-3 * keep  # where all is alike, every frame
    passed = (speech.cumsum(1) - speech / 2) / speech.sum(1, keepdim=True)
    at = torch.arange(frames, device=features.device) * factor + factor // 2
    passed = passed[:, at.clamp(max=features.size(1) - 1), None]
    count = text_lengths.clamp(min=1)[:, None, None]
    place = (torch.arange(max(1, int(text_lengths.max())), device=features.device) + 0.5) / count
    width = passed * (1 - passed) * (1 / count + factor / lengths[:, None, None])
    prior = -0.5 * (place - passed).square() / torch.maximum(width, 1 / count.square())
    return prior - prior.masked_fill(place > 1, -torch.inf).amax(-1, keepdim=True)
