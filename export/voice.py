"""A FastSpeech voice as one graph with its vocoder: phonemes to waveforms."""

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


def float_sound(vocoder: Vocos, dtype: torch.dtype) -> Vocos:
    """A copy that exports, in `dtype` but for its last step: sound has more bits than bf16."""
    twin = deepcopy(vocoder).to(dtype)
    twin.head.inverse = vocoder.head.inverse.convolutional()
    return twin


class VoiceGraph(nn.Module):
    """phonemes [B, N], lengths [B], length_scale [B, 1], duration_scale [B, N], given_durations [B, N], and what the
    voice has of pitch_scale [B, 1], energy_scale [B, 1], speaker [B] and language [B]
    -> waveforms [B, samples], samples of each [B], frames of each phoneme [B, N], mels [B, T, F] natural log.
    """

    def __init__(self, model: FastSpeech, vocoder: Vocos, dtype: torch.dtype):
        super().__init__()
        self.model, self.vocoder = deepcopy(model).to(dtype), float_sound(vocoder, dtype)
        self.hop = model.config.mel.hop
        optional = {
            "pitch_scale": (model.pitch, torch.ones(2, 1)),
            "energy_scale": (model.energy, torch.ones(2, 1)),
            "speaker": (model.speaker, torch.zeros(2, dtype=torch.long)),
            "language": (model.language, torch.zeros(2, dtype=torch.long)),
        }  # no example twice: torch.export takes inputs that are one tensor for one
        self.optional = [Input(n, example, {0: "batch"}) for n, (part, example) in optional.items() if part is not None]

    def inputs(self) -> list[Input]:
        n = {0: "batch", 1: "phonemes"}
        return [
            Input("phonemes", torch.ones(2, 7, dtype=torch.long), n),
            Input("lengths", torch.tensor([7, 5]), {0: "batch"}),
            Input("length_scale", torch.ones(2, 1), {0: "batch"}),
            Input("duration_scale", torch.ones(2, 7), n),
            Input("given_durations", torch.zeros(2, 7, dtype=torch.long), n),
            *self.optional,
        ]

    def forward(
        self,
        phonemes: Tensor,
        lengths: Tensor,
        length_scale: Tensor,
        duration_scale: Tensor,
        given_durations: Tensor,
        *optional: Tensor,
    ) -> tuple[Tensor, ...]:
        out = self.model.synthesize(
            phonemes,
            lengths,
            length_scale=length_scale,
            duration_scale=duration_scale,
            given_durations=given_durations,
            **{given.name: value for given, value in zip(self.optional, optional, strict=True)},
        )
        mel = self.model.denormalize(out.mel)
        return self.vocoder(mel, out.mel_lengths), out.mel_lengths * self.hop, out.durations, mel.float()


def _regulate(x: Tensor, durations: Tensor) -> tuple[Tensor, Tensor]:
    """The exporter must know of the number of frames, which values decide; the graph holds for one as well."""
    frames, lengths = regulate(x, durations)
    torch._check(frames.size(1) > 1)
    return frames, lengths


def save_fastspeech(model: FastSpeech, vocoder: Vocos, dtype: torch.dtype, folder: Path, suffix: str) -> None:
    """`voice`; `suffix` stands behind the name."""
    save_voice_graph(
        VoiceGraph(model, vocoder, dtype),
        ["waveforms", "samples", "durations", "mels"],
        folder / f"voice{suffix}.onnx",
    )


def save_voice_graph(graph: VoiceGraph, outputs: list[str], path: Path) -> None:
    with patch.object(fastspeech, "regulate", _regulate):
        save_graph(graph, graph.inputs(), outputs, path)
