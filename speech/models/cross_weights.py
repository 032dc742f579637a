"""Weights of the decoder's cross-attention over a known text: for word times and pictures."""

import torch
from torch import Tensor

from speech.models.decoder import Decoder
from speech.nn.attention import KV
from speech.nn.masks import Lengths


def cross_weights(decoder: Decoder, tokens: Tensor, memory: list[KV], memory_mask: Lengths | None) -> Tensor:
    """tokens [1, U] -> [layers x heads, U, S]: what each position attends to when it writes the next token.

    Of the upper half of the layers, as the lower ones look around.
    """
    x, mask = decoder._embed(tokens, 0), Lengths(torch.full_like(tokens[:, 0], tokens.size(1)), causal=True)
    found = []
    for layer, kv in zip(decoder.layers, memory, strict=True):
        y = layer.self_norm(x)  # type: ignore[operator]
        heard = x + layer.attn(y, layer.attn.project_kv(y), mask)  # type: ignore[operator, union-attr]
        found.append(layer.cross.weights(layer.cross_norm(heard), kv, memory_mask)[0])  # type: ignore
        x, _ = layer(x, kv, None, mask, memory_mask)
    return torch.cat(found[len(found) // 2 :])
