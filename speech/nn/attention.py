"""The one attention of the house: keys and values are values passed in and out."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speech.errors import SpeechError
from speech.nn.masks import Lengths


class KV(NamedTuple):
    k: Tensor  # [B, H, S, D]
    v: Tensor  # [B, H, S, D]


class Buffer(NamedTuple):
    """Keys and values in buffers of a fixed length S, of which the first `filled` of each row are in use."""

    k: Tensor  # [B, H, S, D]
    v: Tensor  # [B, H, S, D]
    filled: Tensor  # [B]


def append(past: KV | Buffer | None, new: KV) -> KV:
    """Keys and values of `past` followed by those of `new`, along time; a copy of a buffer is filled where it ends."""
    if past is None:
        return new
    if isinstance(past, Buffer):
        return KV(write(past.k, new.k, past.filled), write(past.v, new.v, past.filled))
    return KV(torch.cat([past.k, new.k], 2), torch.cat([past.v, new.v], 2))


def write(buffer: Tensor, new: Tensor, at: Tensor) -> Tensor:
    """A copy of a buffer [B, H, S, D] with new [B, H, U, D] from `at` [B] on. The exporter translates this call too."""
    places = at[:, None] + torch.arange(new.size(2), device=at.device)  # [B, U]
    return buffer.scatter(2, places[:, None, :, None].expand_as(new), new)


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | Lengths | None = None,
    bias: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """softmax(q k^T / sqrt(D) + bias) v, [B, H, T, D]; mask is True where a query may attend.

    The exporter translates exactly this call to a fused node.
    """
    if isinstance(mask, Lengths):
        mask = mask.mask(q.size(2), k.size(2))
    if bias is not None:
        mask = bias if mask is None else bias.masked_fill(~mask, float("-inf"))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)


class Attention(nn.Module):
    """Multi-head attention, "Attention Is All You Need" section 3.2.2. `norms` gives q, k and v a layer norm each."""

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        bias: bool = True,
        key_bias: bool | None = None,
        norms: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        if d_model % n_heads:
            raise SpeechError(f"d_model {d_model} is not a multiple of n_heads {n_heads}")
        self.n_heads, self.dropout = n_heads, dropout
        self.q = nn.Linear(d_model, d_model, bias=bias)
        self.k = nn.Linear(d_model, d_model, bias=bias if key_bias is None else key_bias)
        self.v = nn.Linear(d_model, d_model, bias=bias)
        self.out = nn.Linear(d_model, d_model, bias=bias)
        self.norms = nn.ModuleDict({n: nn.LayerNorm(d_model) if norms else nn.Identity() for n in "qkv"})

    def _heads(self, x: Tensor) -> Tensor:  # [B, T, C] -> [B, H, T, D]
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)

    def project_q(self, x: Tensor) -> Tensor:
        return self._heads(self.q(self.norms["q"](x)))

    def project_kv(self, source: Tensor) -> KV:
        """[B, S, C] -> keys and values [B, H, S, D]."""
        return KV(self._heads(self.k(self.norms["k"](source))), self._heads(self.v(self.norms["v"](source))))

    def _finish(self, q: Tensor, kv: KV, mask: Tensor | Lengths | None, bias: Tensor | None) -> Tensor:
        y = attend(q, kv.k, kv.v, mask, bias, self.dropout if self.training else 0.0)
        return self.out(y.transpose(1, 2).flatten(2))

    def forward(self, x: Tensor, kv: KV, mask: Tensor | Lengths | None = None) -> Tensor:
        """x [B, T, C] attends to kv; mask broadcasts to [B, H, T, S]."""
        return self._finish(self.project_q(x), kv, mask, None)

    def weights(self, x: Tensor, kv: KV, mask: Tensor | Lengths | None = None) -> Tensor:
        """[B, H, T, S] by which `forward` sums the values: for alignments and pictures."""
        identity = torch.eye(kv.k.size(2), device=x.device, dtype=kv.k.dtype).expand(*kv.k.shape[:2], -1, -1)
        return attend(self.project_q(x), kv.k, identity, mask)


class RelativeAttention(Attention):
    """Self-attention with Transformer-XL positions as a score bias (arXiv 1901.02860 section 3.3, own u and v)."""

    def __init__(self, d_model: int, n_heads: int, bias: bool = True, norms: bool = False, dropout: float = 0.0):
        super().__init__(d_model, n_heads, bias, norms=norms, dropout=dropout)
        self.pos = nn.Linear(d_model, d_model, bias=False)
        self.u = nn.Parameter(torch.zeros(n_heads, d_model // n_heads))
        self.v_pos = nn.Parameter(torch.zeros(n_heads, d_model // n_heads))

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """x [B, T, C]; positions [2T-1, C] with rows for distance T-1 ... -(T-1)."""
        q = self.project_q(x)
        p = self._heads(self.pos(positions)[None])  # [1, H, 2T-1, D]
        bias = shift((q + self.v_pos[:, None]) @ p.transpose(2, 3)) * q.size(-1) ** -0.5  # [B, H, T, T]
        return self._finish(q + self.u[:, None], self.project_kv(x), mask, bias)


def shift(scores: Tensor) -> Tensor:
    """[B, H, T, 2T-1] by distance -> [B, H, T, T] by key: row i keeps columns T-1-i ... 2T-2-i."""
    b, h, t, _ = scores.shape
    padded = F.pad(scores, (1, 0)).view(b, h, 2 * t, t)
    return padded[:, :, 1:].reshape(b, h, t, 2 * t - 1)[..., :t]
