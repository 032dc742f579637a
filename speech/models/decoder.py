"""Transformer decoder: one function for training, prefill and single steps; the cache is a value."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from speech.nn.attention import KV, Attention, Buffer, append
from speech.nn.config import DecoderConfig
from speech.nn.layers import FeedForward
from speech.nn.masks import Lengths, causal_mask
from speech.nn.positions import sinusoid


class DecoderOut(NamedTuple):
    logits: Tensor  # [B, U, V] float32
    cache: list[KV]  # self-attention keys and values per layer
    attention: Tensor | None  # [B, U, S] cross-attention of the last layer, mean over heads


class DecoderLayer(nn.Module):
    """Pre-norm self-attention, cross-attention, feed-forward."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        d, h, drop = config.d_model, config.n_heads, config.attn_dropout
        self.self_norm, self.cross_norm = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attn = Attention(d, h, key_bias=config.key_bias, dropout=drop)
        self.cross = Attention(d, h, key_bias=config.key_bias, dropout=drop)
        self.ff = FeedForward(d, config.d_ff, config.act, config.dropout)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        memory: KV,
        past: KV | Buffer | None,
        mask: Tensor | Lengths | None,
        memory_mask: Tensor | Lengths | None,
    ) -> tuple[Tensor, KV]:
        """x [B*K, U, C]; memory of B rows, each shared by K neighbours (the beams of an utterance)."""
        y = self.self_norm(x)
        kv = append(past, self.attn.project_kv(y))
        x = x + self.dropout(self.attn(y, kv, mask))
        y = self.cross_norm(x).reshape(memory.k.size(0), -1, x.size(2))  # [B, K*U, C]
        x = x + self.dropout(self.cross(y, memory, memory_mask)).view_as(x)
        return x + self.ff(x), kv


class Decoder(nn.Module):
    """Tokens and encoder memory to logits. The output projection is the embedding unless `tied` is false."""

    def __init__(self, config: DecoderConfig, vocab_size: int):
        super().__init__()
        self.config, self.vocab_size = config, vocab_size
        d = config.d_model
        width = -(-vocab_size // config.vocab_pad) * config.vocab_pad
        self.embed = nn.Embedding(width, d)
        self.embed_norm = nn.LayerNorm(d) if config.embed_norm else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(d)
        self.head = None if config.tied else nn.Linear(d, width, bias=False)
        self.head_bias = nn.Parameter(torch.zeros(width)) if config.head_bias else None

    def project_memory(self, encoded: Tensor) -> list[KV]:
        """[B, S, C] -> cross keys and values per layer, once per utterance; contiguous, as every step reads them."""
        projected = (layer.cross.project_kv(encoded) for layer in self.layers)  # type: ignore[union-attr, operator]
        return [KV(kv.k.contiguous(), kv.v.contiguous()) for kv in projected]

    def _embed(self, tokens: Tensor, start: int | Tensor) -> Tensor:
        d = self.config.d_model
        positions = sinusoid(torch.arange(tokens.size(1), device=tokens.device) + start, d)
        if self.config.pos_scale:
            positions = positions / math.sqrt(d)
        x = self.embed(tokens) * (math.sqrt(d) if self.config.embed_scale else 1.0)
        return self.dropout(self.embed_norm(x + positions.to(x.dtype)))

    def forward(
        self,
        tokens: Tensor,
        memory: list[KV],
        memory_mask: Tensor | Lengths | None,
        cache: Sequence[KV | Buffer] | None = None,
        with_attention: bool = False,
    ) -> DecoderOut:
        """tokens [B*K, U] continue `cache` (all rows equally long) -> logits of each next token; memory has B rows.

        Rows of buffers may be filled unequally; they come back with the new keys and values in them. Padding may only
        follow a row's tokens: the causal mask then hides it from every real query.
        """
        steps = tokens.size(1)
        if cache and isinstance(cache[0], Buffer):
            filled = cache[0].filled
            x, mask = self._embed(tokens, filled[:, None]), Lengths(filled + steps, causal=True)
        else:
            start = cache[0].k.size(2) if cache else 0
            x = self._embed(tokens, start)
            mask = causal_mask(steps, start + steps, tokens.device) if steps > 1 else None
        kept: list[KV] = []
        attention = None
        for i, layer in enumerate(self.layers):
            if with_attention and i == len(self.layers) - 1:
                attention = self._last_attention(layer, x, memory[i], cache[i] if cache else None, mask, memory_mask)
            x, kv = layer(x, memory[i], cache[i] if cache else None, mask, memory_mask)
            kept.append(kv)
        weight = self.embed.weight if self.head is None else self.head.weight
        logits = nn.functional.linear(self.norm(x), weight, self.head_bias)
        # float32: bf16 has 8 bits of mantissa and near-equal beams would tie after softmax
        return DecoderOut(logits.float(), kept, attention)

    @staticmethod
    def _last_attention(layer, x: Tensor, memory: KV, past: KV | Buffer | None, mask, memory_mask) -> Tensor:
        y = layer.self_norm(x)
        x = x + layer.attn(y, append(past, layer.attn.project_kv(y)), mask)
        y = layer.cross_norm(x).reshape(memory.k.size(0), -1, x.size(2))
        return layer.cross.weights(y, memory, memory_mask).mean(1).view(*x.shape[:2], -1)
