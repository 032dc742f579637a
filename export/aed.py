"""An AED recogniser as graphs: waveforms to encoder memory, tokens to scores with a cache of a fixed length, CTC."""

from copy import copy
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.graph import Input, save_graph
from export.subsampling import HidingDepthwise8
from speech.models.aed import AED
from speech.models.cross_weights import cross_weights
from speech.nn.attention import KV, Buffer
from speech.nn.conv import Depthwise8
from speech.nn.masks import Lengths

FRAMES = 8  # a multiple of them leaves the encoder: fused kernels for a score bias want it on most GPUs
LENGTH = 11  # of examples
TOP = 32  # tokens that leave the decoder's device, for searches that need no more


class EncoderGraph(nn.Module):
    """waveforms [B, samples], lengths [B] -> encoded [B, T, C], frames [B], cross keys and values [B, H, T, D]."""

    def __init__(self, model: AED):
        super().__init__()
        self.frontend, self.encoder, self.enc_proj = model.frontend.convolutional(), model.encoder, model.enc_proj
        self.decoder, self.block = model.decoder, FRAMES * model.encoder.subsampling.factor
        if isinstance(plain := model.encoder.subsampling, Depthwise8):
            self.encoder = copy(model.encoder)
            self.encoder._modules = {**model.encoder._modules, "subsampling": HidingDepthwise8(plain)}

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        features, frames = self.frontend(waveforms, lengths)
        features = F.pad(features, (0, 0, 0, -features.size(1) % self.block))
        encoded, frames = self.encoder(features.to(self.decoder.embed.weight.dtype), frames)
        memory = self.decoder.project_memory(self.enc_proj(encoded))
        return encoded, frames, *(x for kv in memory for x in kv)


class DecoderGraph(nn.Module):
    """tokens [N, U] that stand behind `filled` [N] others in the caches [N, H, S, D] -> log-probabilities [N, U, V],
    the `TOP` greatest and their tokens [N, U, K], the caches with what is new.

    The memory has `frames` [M] and M rows, each shared by N / M neighbours.
    """

    def __init__(self, model: AED):
        super().__init__()
        self.decoder, self.vocab_size = model.decoder, model.vocab_size

    def forward(self, tokens: Tensor, filled: Tensor, frames: Tensor, *caches: Tensor) -> tuple[Tensor, ...]:
        pairs = _pairs(caches)
        memory, past = pairs[: len(pairs) // 2], pairs[len(pairs) // 2 :]
        out = self.decoder(tokens, memory, Lengths(frames), [Buffer(*kv, filled) for kv in past])
        log_probs = out.logits.log_softmax(-1)[..., : self.vocab_size]
        top = log_probs.topk(min(TOP, self.vocab_size))
        return log_probs, top.values, top.indices, *(x for kv in out.cache for x in kv)


class CTCGraph(nn.Module):
    """encoded [B, T, C] -> log-probabilities [B, T, V]."""

    def __init__(self, model: AED):
        super().__init__()
        self.model = model

    def forward(self, encoded: Tensor) -> Tensor:
        return self.model.ctc_log_probs(encoded)


class AlignmentGraph(nn.Module):
    """A text, tokens [1, U], and its memory of `frames` [1] -> weights [heads, U, S] by which it was written."""

    def __init__(self, model: AED):
        super().__init__()
        self.decoder = model.decoder

    def forward(self, tokens: Tensor, frames: Tensor, *memory: Tensor) -> Tensor:
        return cross_weights(self.decoder, tokens, _pairs(memory), Lengths(frames)).float()


def _pairs(caches: tuple[Tensor, ...]) -> list[KV]:
    return [KV(*caches[i : i + 2]) for i in range(0, len(caches), 2)]


def cache_names(prefix: str, layers: int) -> list[str]:
    return [f"{prefix}_{part}_{i}" for i in range(layers) for part in ("key", "value")]


def save_aed(model: AED, folder: Path, suffix: str) -> None:
    """`encoder`, `decoder` and `ctc`, or `alignment` where there is no CTC head; `suffix` stands behind each name."""
    save_encoder(model, folder / f"encoder{suffix}.onnx")
    save_decoder(model, folder / f"decoder{suffix}.onnx")
    if model.ctc is not None:
        save_ctc(model, folder / f"ctc{suffix}.onnx")
    else:
        save_alignment(model, folder / f"alignment{suffix}.onnx")


def save_encoder(model: AED, path: Path) -> None:
    second = model.config.frontend.sample_rate
    inputs = [
        Input("waveforms", torch.zeros(2, second), {0: "batch", 1: "samples"}),
        Input("lengths", torch.full((2,), second), {0: "batch"}),
    ]
    outputs = ["encoded", "frames", *cache_names("cross", model.config.decoder.n_layers)]
    save_graph(EncoderGraph(model), inputs, outputs, path)


def save_decoder(model: AED, path: Path) -> None:
    rows, beams = 2, 3
    inputs = [
        Input("tokens", torch.zeros(rows * beams, 2, dtype=torch.long), {0: "rows", 1: "steps"}),
        Input("filled", torch.full((rows * beams,), 3), {0: "rows"}),
        Input("frames", torch.full((rows,), LENGTH), {0: "batch"}),
        *_caches(model, "cross", rows, {0: "batch", 2: "frames"}),
        *_caches(model, "past", rows * beams, {0: "rows", 2: "cache"}),
    ]
    outputs = ["log_probs", "top_log_probs", "top_tokens", *cache_names("present", model.config.decoder.n_layers)]
    save_graph(DecoderGraph(model), inputs, outputs, path)


def save_ctc(model: AED, path: Path) -> None:
    width, dtype = model.config.encoder.d_model, model.decoder.embed.weight.dtype
    encoded = Input("encoded", torch.zeros(2, LENGTH, width, dtype=dtype), {0: "batch", 1: "frames"})
    save_graph(CTCGraph(model), [encoded], ["log_probs"], path)


def save_alignment(model: AED, path: Path) -> None:
    inputs = [
        Input("tokens", torch.zeros(1, 5, dtype=torch.long), {1: "steps"}),
        Input("frames", torch.full((1,), LENGTH), {}),
        *_caches(model, "cross", 1, {2: "frames"}),
    ]
    save_graph(AlignmentGraph(model), inputs, ["weights"], path)


def _caches(model: AED, prefix: str, rows: int, dims: dict[int, str]) -> list[Input]:
    config = model.config.decoder
    shape = (rows, config.n_heads, LENGTH, config.d_model // config.n_heads)
    dtype = model.decoder.embed.weight.dtype  # a tensor for each: torch takes one given twice for one input
    return [Input(name, torch.zeros(shape, dtype=dtype), dims) for name in cache_names(prefix, config.n_layers)]
