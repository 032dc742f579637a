"""An AED recogniser as graphs: waveforms to encoder memory, tokens to scores with a cache of a fixed length, CTC."""

from collections.abc import Iterable, Iterator
from copy import copy
from itertools import chain
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from export.graph import Input, save_graph
from export.ops import by_heads, flat
from export.subsampling import HidingDepthwise8
from speech.models.aed import AED
from speech.models.cross_weights import cross_weights
from speech.nn.attention import KV, Buffer
from speech.nn.conv import Depthwise8
from speech.nn.masks import Lengths

FRAMES = 8  # a multiple of them leaves the encoder: fused kernels for a score bias want it on most GPUs
LENGTH = 11  # of examples
TOP = 32  # tokens that leave the decoder's device, for searches that need no more


def save_aed(model: AED, folder: Path, suffix: str) -> None:
    """`encoder`, `decoder` and `ctc`, or `alignment` where there is no CTC head; `suffix` stands behind each name."""
    save_encoder(model, folder / f"encoder{suffix}.onnx")
    save_decoder(model, folder / f"decoder{suffix}.onnx")
    if model.ctc is not None:
        save_ctc(model, folder / f"ctc{suffix}.onnx")
    else:
        save_alignment(model, folder / f"alignment{suffix}.onnx")


def save_encoder(model: AED, path: Path) -> None:
    """waveforms [B, samples], lengths [B] -> encoded [B, T, C], frames [B], cross keys and values [B, T, C]."""
    encoder, block = copy(model.encoder), FRAMES * model.encoder.subsampling.factor
    if isinstance(plain := encoder.subsampling, Depthwise8):
        encoder._modules = {**encoder._modules, "subsampling": HidingDepthwise8(plain)}
    ours = copy(model)
    ours._modules = {**model._modules, "frontend": model.frontend.convolutional(), "encoder": encoder}

    def encode(model: AED, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        features, frames = model.frontend(waveforms, lengths)
        features = F.pad(features, (0, 0, 0, -features.size(1) % block))
        encoded, frames = model.encoder(features.to(model.decoder.embed.weight.dtype), frames)
        return encoded, frames, *flat_pairs(model.decoder.project_memory(model.enc_proj(encoded)))

    second = model.config.frontend.sample_rate
    inputs = [
        Input("waveforms", torch.zeros(2, second), {0: "batch", 1: "samples"}),
        Input("lengths", torch.full((2,), second), {0: "batch"}),
    ]
    save_graph(ours, inputs, ["encoded", "frames", *cache_names("cross", model.config.decoder.n_layers)], path, encode)


def save_decoder(model: AED, path: Path) -> None:
    """tokens [N, U] that stand behind `filled` [N] others in the caches [N, S, C] -> log-probabilities [N, U, V],
    the `TOP` greatest and their tokens [N, U, K], the caches with what is new.

    The memory has `frames` [M] and M rows, each shared by N / M neighbours.
    """

    def decode(model: AED, tokens: Tensor, filled: Tensor, frames: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
        kvs, layers = pairs(given, model.config.decoder.n_heads), len(model.decoder.layers)
        out = model.decoder(tokens, kvs[:layers], Lengths(frames), [Buffer(*kv, filled) for kv in kvs[layers:]])
        log_probs = out.logits.log_softmax(-1)[..., : model.vocab_size]
        top = log_probs.topk(min(TOP, model.vocab_size))
        return log_probs, top.values, top.indices, *flat_pairs(out.cache)

    rows, beams = 2, 3
    inputs = [
        Input("tokens", torch.zeros(rows * beams, 2, dtype=torch.long), {0: "rows", 1: "steps"}),
        Input("filled", torch.full((rows * beams,), 3), {0: "rows"}),
        Input("frames", torch.full((rows,), LENGTH), {0: "batch"}),
        *_caches(model, "cross", rows, {0: "batch", 1: "frames"}),
        *_caches(model, "past", rows * beams, {0: "rows", 1: "cache"}),
    ]
    outputs = ["log_probs", "top_log_probs", "top_tokens", *cache_names("present", model.config.decoder.n_layers)]
    save_graph(model, inputs, outputs, path, decode)


def save_ctc(model: AED, path: Path) -> None:
    """encoded [B, T, C] -> log-probabilities [B, T, V]."""
    width, dtype = model.config.encoder.d_model, model.decoder.embed.weight.dtype
    encoded = Input("encoded", torch.zeros(2, LENGTH, width, dtype=dtype), {0: "batch", 1: "frames"})
    save_graph(model, [encoded], ["log_probs"], path, AED.ctc_log_probs)


def save_alignment(model: AED, path: Path) -> None:
    """A text, tokens [1, U], and its memory of `frames` [1] -> weights [heads, U, S] by which it was written."""

    def align(model: AED, tokens: Tensor, frames: Tensor, *memory: Tensor) -> Tensor:
        return cross_weights(
            model.decoder, tokens, pairs(memory, model.config.decoder.n_heads), Lengths(frames)
        ).float()

    inputs = [
        Input("tokens", torch.zeros(1, 5, dtype=torch.long), {1: "steps"}),
        Input("frames", torch.full((1,), LENGTH), {}),
        *_caches(model, "cross", 1, {1: "frames"}),
    ]
    save_graph(model, inputs, ["weights"], path, align)


def _caches(model: AED, prefix: str, rows: int, dims: dict[int, str]) -> list[Input]:
    config = model.config.decoder
    return caches(prefix, config.n_layers, (rows, LENGTH, config.d_model), model.decoder.embed.weight.dtype, dims)


def caches(prefix: str, layers: int, shape: tuple[int, ...], dtype: torch.dtype, dims: dict[int, str]) -> list[Input]:
    """A tensor for each: torch takes one given twice for one input."""
    return [Input(name, torch.zeros(shape, dtype=dtype), dims) for name in cache_names(prefix, layers)]


def cache_names(prefix: str, layers: int) -> list[str]:
    return [f"{prefix}_{part}_{i}" for i in range(layers) for part in ("key", "value")]


def pairs(caches: tuple[Tensor, ...], heads: int) -> list[KV]:
    """Keys and values as the models have them of those of a graph, [B, S, C] each."""
    return [KV(*(by_heads(x, heads) for x in caches[i : i + 2])) for i in range(0, len(caches), 2)]


def flat_pairs(kvs: Iterable[KV]) -> Iterator[Tensor]:
    return map(flat, chain(*kvs))
