"""A Transformer TTS as graphs: phonemes to memory, a frame to the next ones with a cache of a fixed length, and mels to
waveforms."""

from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn

from export.aed import cache_names
from export.graph import Input, save_graph
from export.voice import float_sound
from speech.models.transformer_tts import TransformerTTS
from speech.models.vocos import Vocos
from speech.nn.attention import KV, Buffer
from speech.nn.masks import Lengths
from speech.nn.positions import sinusoid


class Encoder(nn.Module):
    """phonemes [B, N], lengths [B], speaker [B] where there are several -> cross keys and values [B, H, N, D]."""

    def __init__(self, model: TransformerTTS):
        super().__init__()
        self.model = model

    def forward(self, phonemes: Tensor, lengths: Tensor, *speaker: Tensor) -> tuple[Tensor, ...]:
        return tuple(x for kv in self.model.encode(phonemes, lengths, *speaker).kv for x in kv)


class Step(nn.Module):
    """frame [B, F] that stands behind `filled` [B] steps in the caches [B, H, S, D], keep [1, 2, W] of the pre-net's
    units, lengths [B] of the phonemes -> the next mel frames [B, r, F], logits of the stop [B], caches.
    """

    def __init__(self, model: TransformerTTS):
        super().__init__()
        self.model, self.layers = model, model.config.decoder_layers

    def forward(self, frame: Tensor, filled: Tensor, keep: Tensor, lengths: Tensor, *caches: Tensor):
        model, dtype = self.model, self.model.stop.weight.dtype
        pairs = [KV(*caches[i : i + 2]) for i in range(0, len(caches), 2)]
        x = model.prenet(frame[:, None].to(dtype), keep.to(dtype))
        x = x + model.decoder_positions.alpha * sinusoid(filled[:, None], x.size(2)).to(dtype)
        present: list[Tensor] = []
        for layer, memory, past in zip(model.decoder, pairs[: self.layers], pairs[self.layers :], strict=True):
            x, kv, _ = layer(x, memory, Buffer(*past, filled), Lengths(filled + 1), Lengths(lengths), False)
            present += kv
        x = model.decoder_norm(x)
        mel = model.mel(x).unflatten(2, (model.config.reduction, -1))[:, 0]
        return mel.float(), model.stop(x)[:, 0, 0].float(), *present


class Vocoder(nn.Module):
    """rough mels [B, T, F] of the steps, frames [B] -> waveforms [B, samples], mels [B, T, F] natural log."""

    def __init__(self, model: TransformerTTS, vocoder: Vocos):
        super().__init__()
        self.model, self.vocoder = model, vocoder

    def forward(self, rough: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        dtype = self.model.stop.weight.dtype
        mels = self.model.denormalize(self.model.refine(rough.to(dtype), frames).float())
        return self.vocoder(mels.to(dtype), frames), mels


def save_transformer_tts(model: TransformerTTS, vocoder: Vocos, dtype: torch.dtype, folder: Path, suffix: str) -> None:
    """`encoder`, `decoder` and `vocoder`; `suffix` stands behind each name."""
    model, config = deepcopy(model).to(dtype), model.config
    layers, heads, batch, which = config.decoder_layers, config.n_heads, {0: "batch"}, torch.zeros(2, dtype=torch.long)

    def caches(prefix: str, length: int, dim: str) -> list[Input]:
        shape = (2, heads, length, config.d_model // heads)
        dims = {0: "batch", 2: dim}
        return [Input(name, torch.zeros(shape, dtype=dtype), dims) for name in cache_names(prefix, layers)]

    texts = [
        Input("phonemes", torch.ones(2, 7, dtype=torch.long), {0: "batch", 1: "phonemes"}),
        Input("lengths", torch.tensor([7, 5]), batch),
        *([Input("speaker", which, batch)] if model.speaker is not None else []),
    ]
    save_graph(Encoder(model), texts, cache_names("cross", layers), folder / f"encoder{suffix}.onnx")
    steps = [
        Input("frame", torch.zeros(2, config.mel.n_mels), batch),
        Input("filled", which + 3, batch),
        Input("keep", torch.ones(1, 2, config.prenet_width), {}),
        Input("lengths", torch.tensor([7, 5]), batch),
        *caches("cross", 7, "phonemes"),
        *caches("past", 11, "cache"),
    ]
    outs = ["mel", "stop", *cache_names("present", layers)]
    save_graph(Step(model), steps, outs, folder / f"decoder{suffix}.onnx")
    mels = [
        Input("rough", torch.zeros(2, 9, config.mel.n_mels), {0: "batch", 1: "frames"}),
        Input("frames", torch.tensor([9, 5]), batch),
    ]
    sound = Vocoder(model, float_sound(vocoder, dtype))
    save_graph(sound, mels, ["waveforms", "mels"], folder / f"vocoder{suffix}.onnx")
