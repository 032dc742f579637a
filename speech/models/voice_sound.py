"""What a voice hears of recordings: log-mels, normalised per bin."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from speech.nn.masks import valid
from speech.nn.mel import LogMel
from speech.nn.mel_config import MelConfig


class VoiceSound(nn.Module):
    """Waveforms [B, samples] -> normalised log-mels [B, T, F], zero past their lengths, and lengths [B].

    Mean and deviation are those of the training set and no part of a checkpoint.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: MelConfig):
        super().__init__()
        self.log_mel = LogMel(config)
        self.register_buffer("mean", torch.zeros(config.n_mels), persistent=False)
        self.register_buffer("std", torch.ones(config.n_mels), persistent=False)

    @torch.no_grad()
    def measure(self, waveforms: Iterable[Tensor]) -> None:
        """Statistics over the frames of recordings [samples]."""
        frames = torch.cat([self.log_mel(x[None])[0] for x in waveforms])
        self.mean.copy_(frames.mean(0))
        self.std.copy_(frames.std(0).clamp_min(1e-3))

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        mels, frames = self.log_mel(waveforms, lengths), self.log_mel.frames(lengths)
        mels = (mels - self.mean) / self.std
        return mels * valid(frames, mels.size(1))[..., None], frames
