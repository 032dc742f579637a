"""Masks: boolean, True = may attend, broadcastable to [B, H, T, S]."""

from typing import NamedTuple

import torch
from torch import Tensor


class Lengths(NamedTuple):
    """A mask by the number of keys of each row [B]; `causal`: the last query sees them all, each earlier one a key
    less. `attend` takes it as it is: graphs then hold no mask."""

    lengths: Tensor
    causal: bool = False

    def mask(self, queries: int, keys: int) -> Tensor:
        """[B, 1, 1 or T, S]."""
        if not self.causal:
            return length_mask(self.lengths, keys)
        row = torch.arange(queries, device=self.lengths.device)[:, None] + (self.lengths - queries)[:, None, None]
        return (torch.arange(keys, device=self.lengths.device) < row + 1)[:, None]


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
