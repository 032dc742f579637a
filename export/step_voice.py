"""A Transformer TTS as graphs: phonemes to memory, a frame to the next ones with a cache of a fixed length, and mels to
waveforms."""

from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn

from export.aed import cache_names, caches, flat_pairs, pairs
from export.graph import Input, save_graph
from export.voice import float_sound
from speech.models.transformer_tts import TransformerTTS
from speech.models.vocos import Vocos
from speech.nn.attention import Buffer
from speech.nn.masks import Lengths
from speech.nn.positions import sinusoid


def save_transformer_tts(model: TransformerTTS, vocoder: Vocos, dtype: torch.dtype, folder: Path, suffix: str) -> None:
    """`encoder`, `decoder` and `vocoder`; `suffix` stands behind each name."""
    model, config = deepcopy(model).to(dtype), model.config
    layers, batch, which = config.decoder_layers, {0: "batch"}, torch.zeros(2, dtype=torch.long)
    cross, past = ((2, n, config.d_model) for n in (7, 11))
    texts = [
        Input("phonemes", torch.ones(2, 7, dtype=torch.long), {0: "batch", 1: "phonemes"}),
        Input("lengths", torch.tensor([7, 5]), batch),
        *([Input("speaker", which, batch)] if model.speaker is not None else []),
    ]
    save_graph(model, texts, cache_names("cross", layers), folder / f"encoder{suffix}.onnx", _encode)
    steps = [
        Input("frame", torch.zeros(2, config.mel.n_mels), batch),
        Input("filled", which + 3, batch),
        Input("keep", torch.ones(1, 2, config.prenet_width), {}),
        Input("lengths", torch.tensor([7, 5]), batch),
        *caches("cross", layers, cross, dtype, {0: "batch", 1: "phonemes"}),
        *caches("past", layers, past, dtype, {0: "batch", 1: "cache"}),
    ]
    outs = ["mel", "stop", *cache_names("present", layers)]
    save_graph(model, steps, outs, folder / f"decoder{suffix}.onnx", _step)
    mels = [
        Input("rough", torch.zeros(2, 9, config.mel.n_mels), {0: "batch", 1: "frames"}),
        Input("frames", torch.tensor([9, 5]), batch),
    ]
    both = nn.ModuleList([model, float_sound(vocoder, dtype)])
    save_graph(both, mels, ["waveforms", "mels"], folder / f"vocoder{suffix}.onnx", _speak)


def _encode(model: TransformerTTS, phonemes: Tensor, lengths: Tensor, *speaker: Tensor) -> tuple[Tensor, ...]:
    """phonemes [B, N], lengths [B], speaker [B] where there are several -> cross keys and values [B, N, C]."""
    return tuple(flat_pairs(model.encode(phonemes, lengths, *speaker).kv))


def _step(model: TransformerTTS, frame: Tensor, filled: Tensor, keep: Tensor, lengths: Tensor, *caches: Tensor):
    """frame [B, F] that stands behind `filled` [B] steps in the caches [B, S, C], keep [1, 2, W] of the pre-net's
    units, lengths [B] of the phonemes -> the next mel frames [B, r, F], logits of the stop [B], caches.
    """
    dtype, layers, kvs = model.stop.weight.dtype, model.config.decoder_layers, pairs(caches, model.config.n_heads)
    x = model.prenet(frame[:, None].to(dtype), keep.to(dtype))
    x = x + model.decoder_positions.alpha * sinusoid(filled[:, None], x.size(2)).to(dtype)
    present: list[Tensor] = []
    for layer, memory, past in zip(model.decoder, kvs[:layers], kvs[layers:], strict=True):
        x, kv, _ = layer(x, memory, Buffer(*past, filled), Lengths(filled + 1), Lengths(lengths), False)
        present += flat_pairs([kv])
    x = model.decoder_norm(x)
    mel = model.mel(x).unflatten(2, (model.config.reduction, -1))[:, 0]
    return mel.float(), model.stop(x)[:, 0, 0].float(), *present


def _speak(both: tuple[TransformerTTS, Vocos], rough: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
    """rough mels [B, T, F] of the steps, frames [B] -> waveforms [B, samples], mels [B, T, F] natural log."""
    model, vocoder = both
    dtype = model.stop.weight.dtype
    mels = model.denormalize(model.refine(rough.to(dtype), frames).float())
    return vocoder(mels.to(dtype), frames), mels
