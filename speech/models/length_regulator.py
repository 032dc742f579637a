"""Length regulator of FastSpeech (arXiv 1905.09263 section 3.2): phonemes repeated to mel frames, and their speed."""

import torch
import torch.nn.functional as F
from torch import Tensor

from speech.nn.masks import valid


def phoneme_of_frames(durations: Tensor, frames: int | Tensor) -> Tensor:
    """Whole durations [B, N] -> the phoneme of each frame [B, T]: the first one whose cumulative duration exceeds t.

    Frames behind the last phoneme get N - 1.
    """
    t = torch.arange(frames, device=durations.device)  # pyright: ignore  # a tensor: T stays open in an exported graph
    return (t[None, :, None] >= durations.cumsum(1)[:, None]).sum(-1).clamp_max(durations.size(1) - 1)


def regulate(x: Tensor, durations: Tensor) -> tuple[Tensor, Tensor]:
    """Phonemes [B, N, C], whole durations [B, N] -> frames [B, T, C], lengths [B]; by gather, so that ONNX has it."""
    lengths = durations.sum(1)
    index = phoneme_of_frames(durations, lengths.max())
    return x.gather(1, index[..., None].expand(-1, -1, x.size(2))), lengths


def scaled_durations(durations: Tensor, scale: float | Tensor) -> Tensor:
    """Whole durations [B, N] times a scale, one for all or [B, N], above 1 is slower; halves go up.

    A phoneme of at least one frame keeps at least one; one of zero frames stays away.
    """
    scaled = (durations * scale + 0.5).floor().long()
    return torch.where(durations > 0, scaled.clamp_min(1), 0)


def whole_durations(frames: Tensor) -> Tensor:
    """Predicted durations [B, N] -> whole ones of at least 1 whose sum is that of `frames`, rounded.

    The rounding error is carried on to the next phoneme. A duration below 1 counts as 1, exactly 0 is padding.
    """
    real = frames > 0
    ends = (torch.where(real, frames.clamp_min(1), 0).cumsum(1) + 0.5).floor().long()
    steps = ends - F.pad(ends[:, :-1], (1, 0))
    return torch.where(real, steps.clamp_min(1), 0)  # they are, but for what a parallel cumsum may lose


def stretched(mel: Tensor, durations: Tensor, new: Tensor) -> Tensor:
    """Mel [B, T, F] of whole durations [B, N] -> that of new ones, the frames of each phoneme drawn out or together."""
    lengths = new.sum(1)
    index = phoneme_of_frames(new, int(lengths.max()))  # [B, T']
    old_start, new_start = ((d.cumsum(1) - d).gather(1, index) for d in (durations, new))
    pace = durations.gather(1, index) / new.gather(1, index).clamp_min(1)
    t = torch.arange(index.size(1), device=mel.device)
    place = (old_start + (t - new_start + 0.5) * pace - 0.5).clamp(0, mel.size(1) - 1)
    left = place.floor().long()
    ends = (left, (left + 1).clamp_max(mel.size(1) - 1))
    before, after = (mel.gather(1, i[..., None].expand(-1, -1, mel.size(2))) for i in ends)
    return torch.lerp(before, after, (place - left)[..., None]) * valid(lengths, len(t))[..., None]
