"""Masks: boolean, True = may attend, broadcastable to [B, H, T, S]."""

import torch
from torch import Tensor


def valid(lengths: Tensor, max_len: int) -> Tensor:
    """[B] -> [B, T], True on real frames."""
    return torch.arange(max_len, device=lengths.device) < lengths[:, None]


def length_mask(lengths: Tensor, max_len: int) -> Tensor:
    """[B] -> [B, 1, 1, T], True on real frames."""
    return valid(lengths, max_len)[:, None, None]


def causal_mask(queries: int, keys: int, device: torch.device | None = None) -> Tensor:
    """[1, 1, T, S]: the last query sees every key, each earlier one a key less."""
    row = torch.arange(queries, device=device)[:, None] + (keys - queries)
    return (torch.arange(keys, device=device) <= row)[None, None]
