"""A FastSpeech voice as one graph with its vocoder: phonemes to waveforms."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor, nn

from export.graph import Input, save_graph
from speech.models import fastspeech
from speech.models.fastspeech import FastSpeech
from speech.models.length_regulator import regulate
from speech.models.vocos import Vocos


def save_fastspeech(model: FastSpeech, vocoder: Vocos, dtype: torch.dtype, folder: Path, suffix: str) -> None:
    """`voice`; `suffix` stands behind the name.

    phonemes [B, N], lengths [B], length_scale [B, 1], duration_scale [B, N], given_durations [B, N], and what the voice
    has of pitch_scale [B, 1], energy_scale [B, 1], speaker [B] and language [B]
    -> waveforms [B, samples], samples of each [B], frames of each phoneme [B, N], mels [B, T, F] natural log.
    """
    each, ids = {0: "batch"}, {0: "batch", 1: "phonemes"}
    inputs = [
        Input("phonemes", torch.ones(2, 7, dtype=torch.long), ids),
        Input("lengths", torch.tensor([7, 5]), each),
        Input("length_scale", torch.ones(2, 1), each),
        Input("duration_scale", torch.ones(2, 7), ids),
        Input("given_durations", torch.zeros(2, 7, dtype=torch.long), ids),
    ]  # no example twice: torch.export takes inputs that are one tensor for one
    inputs += [Input(f"{n}_scale", torch.ones(2, 1), each) for n in ("pitch", "energy") if getattr(model, n)]
    inputs += [Input(n, torch.zeros(2).long(), each) for n in ("speaker", "language") if getattr(model, n)]

    def speak(both: tuple[FastSpeech, Vocos], phonemes: Tensor, lengths: Tensor, *manner: Tensor) -> tuple[Tensor, ...]:
        model, vocoder = both
        scales = {given.name: value for given, value in zip(inputs[2:], manner, strict=True)}
        out = model.synthesize(phonemes, lengths, **scales)
        mel, samples = model.denormalize(out.mel), out.mel_lengths * model.config.mel.hop
        return vocoder(mel, out.mel_lengths), samples, out.durations, mel.float()

    outputs = ["waveforms", "samples", "durations", "mels"]
    save_voice_graph(model, vocoder, dtype, inputs, outputs, folder / f"voice{suffix}.onnx", speak)


def save_voice_graph(
    model: FastSpeech,
    vocoder: Vocos,
    dtype: torch.dtype,
    inputs: Sequence[Input],
    outputs: Sequence[str],
    path: Path,
    speak: Callable,
) -> None:
    """What `speak` makes of model, vocoder and inputs."""
    both = nn.ModuleList([deepcopy(model).to(dtype), float_sound(vocoder, dtype)])
    with patch.object(fastspeech, "regulate", _regulate):
        save_graph(both, inputs, outputs, path, speak)


def float_sound(vocoder: Vocos, dtype: torch.dtype) -> Vocos:
    """A copy that exports, in `dtype` but for its last step: sound has more bits than bf16."""
    twin = deepcopy(vocoder).to(dtype)
    twin.head.inverse = vocoder.head.inverse.convolutional()
    return twin


def _regulate(x: Tensor, durations: Tensor) -> tuple[Tensor, Tensor]:
    """The exporter must know of the number of frames, which values decide; the graph holds for one as well."""
    frames, lengths = regulate(x, durations)
    torch._check(frames.size(1) > 1)
    return frames, lengths
