"""Losses of FastSpeech as sums with weights: the mean is taken once, over all ranks."""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from speech.models.fastspeech import FastSpeechOut
from speech.models.losses import WeightedSum
from speech.nn.masks import valid


class FastSpeechLoss(NamedTuple):
    mel: WeightedSum  # L1, mean over the bins, per frame
    duration: WeightedSum  # squared error of the logarithm, per phoneme
    pitch: WeightedSum | None  # squared error, per voiced phoneme
    voicing: WeightedSum | None  # cross-entropy, per phoneme
    energy: WeightedSum | None  # squared error, per phoneme
    frames: WeightedSum  # predicted frames, per true frame: no loss; `duration_gain` is weight / total over a dev set
    duration_error: WeightedSum  # predicted less true frames without its sign, per phoneme: no loss


def fastspeech_loss(
    out: FastSpeechOut,
    mel: Tensor,
    phoneme_lengths: Tensor,
    pitch: Tensor | None = None,
    energy: Tensor | None = None,
) -> FastSpeechLoss:
    """`out` of a forward pass with true durations, and what it should have been: normalised log-mel [B, T, F], pitch
    and energy [B, N]. A phoneme that a teacher gave no frame counts as one frame."""
    assert mel.shape == out.mel.shape, f"mel {tuple(mel.shape)}, durations add up to {tuple(out.mel.shape)}"
    frames, keep = valid(out.mel_lengths, mel.size(1)), valid(phoneme_lengths, out.durations.size(1))
    log_durations = out.log_durations.float()
    predicted = log_durations.detach().exp() * keep

    def squared(found: Tensor, wanted: Tensor, where: Tensor) -> WeightedSum:
        return WeightedSum(((found.float() - wanted).square() * where).sum(), where.sum())

    pitch_loss = voicing_loss = energy_loss = None
    if out.pitch is not None and out.voicing is not None and pitch is not None:
        voiced = pitch != 0
        pitch_loss = squared(out.pitch, pitch, voiced & keep)
        losses = F.binary_cross_entropy_with_logits(out.voicing.float(), voiced.float(), reduction="none")
        voicing_loss = WeightedSum((losses * keep).sum(), keep.sum())
    if out.energy is not None and energy is not None:
        energy_loss = squared(out.energy, energy, keep)
    return FastSpeechLoss(
        mel=WeightedSum(((out.mel.float() - mel).abs().mean(-1) * frames).sum(), frames.sum()),
        duration=squared(log_durations, out.durations.clamp_min(1).log(), keep),
        pitch=pitch_loss,
        voicing=voicing_loss,
        energy=energy_loss,
        frames=WeightedSum(predicted.sum(), out.durations.sum()),
        duration_error=WeightedSum((predicted - out.durations).abs().sum(), keep.sum()),
    )
