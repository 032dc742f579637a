"""An AED recogniser as graphs: waveforms to encoder memory, tokens to scores with a cache of a fixed length, CTC."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.graph import Input, save_graph
from speech.models.aed import AED
from speech.nn.attention import KV, Buffer
from speech.nn.masks import Lengths

FRAMES = 8  # a multiple of them leaves the encoder: fused kernels for a score bias want it on most GPUs
TOP = 32  # tokens that leave the decoder's device, for searches that need no more


class EncoderGraph(nn.Module):
    """waveforms [B, samples], lengths [B] -> encoded [B, T, C], frames [B], cross keys and values [B, H, T, D]."""

    def __init__(self, model: AED):
        super().__init__()
        self.frontend, self.encoder, self.enc_proj = model.frontend.convolutional(), model.encoder, model.enc_proj
        self.decoder, self.block = model.decoder, FRAMES * model.encoder.subsampling.factor

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
        pairs = [KV(*caches[i : i + 2]) for i in range(0, len(caches), 2)]
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


def names(prefix: str, layers: int) -> list[str]:
    return [f"{prefix}_{part}_{i}" for i in range(layers) for part in ("key", "value")]


def save_aed(model: AED, folder: Path, suffix: str, metadata: dict[str, str]) -> None:
    """`encoder`, `decoder` and for models with a CTC head `ctc`, each with `suffix` behind its name."""
    config, dtype = model.config, model.decoder.embed.weight.dtype
    d, layers, heads = config.decoder.d_model, config.decoder.n_layers, config.decoder.n_heads
    rows, beams, length = 2, 3, 11

    def caches(prefix: str, n: int, dims: dict[int, str]) -> list[Input]:
        return [
            Input(name, torch.zeros(n, heads, length, d // heads, dtype=dtype), dims) for name in names(prefix, layers)
        ]

    waves = [
        Input("waveforms", torch.zeros(rows, config.frontend.sample_rate), {0: "batch", 1: "samples"}),
        Input("lengths", torch.full((rows,), config.frontend.sample_rate), {0: "batch"}),
    ]
    outs = ["encoded", "frames", *names("cross", layers)]
    save_graph(EncoderGraph(model), waves, outs, folder / f"encoder{suffix}.onnx", metadata)
    steps = [
        Input("tokens", torch.zeros(rows * beams, 2, dtype=torch.long), {0: "rows", 1: "steps"}),
        Input("filled", torch.full((rows * beams,), 3), {0: "rows"}),
        Input("frames", torch.full((rows,), length), {0: "batch"}),
        *caches("cross", rows, {0: "batch", 2: "frames"}),
        *caches("past", rows * beams, {0: "rows", 2: "cache"}),
    ]
    outs = ["log_probs", "top_log_probs", "top_tokens", *names("present", layers)]
    save_graph(DecoderGraph(model), steps, outs, folder / f"decoder{suffix}.onnx", metadata)
    if model.ctc is not None:
        encoded = Input(
            "encoded", torch.zeros(rows, length, config.encoder.d_model, dtype=dtype), {0: "batch", 1: "frames"}
        )
        save_graph(CTCGraph(model), [encoded], ["log_probs"], folder / f"ctc{suffix}.onnx", metadata)
