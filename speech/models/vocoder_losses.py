"""Losses of vocoders: sums over the rows of a batch, so that the mean is taken once, over all ranks and batches.

A row's loss is the mean over its frames, samples or scores; rows of a batch are equally long.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speech.models.discriminators import RESOLUTIONS, Discriminators, Verdict
from speech.models.vocos import Vocos
from speech.nn.mel import hann
from speech.nn.spectrum import FFTSpectrum


def row_means(x: Tensor) -> Tensor:  # [B, ...] -> [B]
    return x.float().flatten(1).mean(1)


def discriminator_loss(real: list[Verdict], fake: list[Verdict]) -> Tensor:
    """Hinge loss, 0 when all recordings score 1 or more and all synthesis -1 or less; mean over verdicts."""
    pairs = zip(real, fake, strict=True)
    losses = [row_means(F.relu(1 - r.score)) + row_means(F.relu(1 + f.score)) for r, f in pairs]
    return torch.stack(losses).mean(0).sum()


def adversarial_loss(fake: list[Verdict]) -> Tensor:
    """The generator's side: 0 when all synthesis scores 1 or more."""
    return torch.stack([row_means(F.relu(1 - f.score)) for f in fake]).mean(0).sum()


def matching_loss(real: list[Verdict], fake: list[Verdict]) -> Tensor:
    """L1 between the features of recordings and synthesis, mean over layers and verdicts."""
    layers = [pair for r, f in zip(real, fake, strict=True) for pair in zip(r.features, f.features, strict=True)]
    return torch.stack([row_means((r.detach() - f).abs()) for r, f in layers]).mean(0).sum()


class MultiResolutionSTFT(nn.Module):
    """Spectral convergence and L1 of log-magnitudes, mean over resolutions (Parallel WaveGAN, arXiv 1910.11480)."""

    def __init__(self) -> None:
        super().__init__()
        self.spectra = nn.ModuleList(FFTSpectrum(hann(n, n), n, n // 4) for n in RESOLUTIONS)

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        total = real.new_zeros(len(real))
        with torch.autocast(real.device.type, enabled=False):
            for spectrum in self.spectra:
                r, f = ((spectrum(x.float()) + 1e-9).sqrt() for x in (real, fake))
                # 1 is about the norm of noise at -70 dB: less would let silence weigh more than speech
                scale = r.flatten(1).norm(dim=1).clamp(min=1.0)
                total = total + (r - f).flatten(1).norm(dim=1) / scale + row_means((r.log() - f.log()).abs())
        return total.sum() / len(self.spectra)


class VocoderLoss(NamedTuple):
    """Sums over rows."""

    mel: Tensor
    stft: Tensor
    adversarial: Tensor
    matching: Tensor
    discriminator: Tensor


def vocoder_loss(
    model: Vocos,
    stft: MultiResolutionSTFT,
    discriminators: Discriminators | None,
    waveforms: Tensor,
    mels: Tensor | None = None,
) -> VocoderLoss:
    """Synthesis of waveforms [B, T hop] from `mels` [B, T, F], or from their own; without discriminators their losses
    are 0.

    `discriminator` has gradients in the discriminators only, all else in the model only: one backward pass of any sum
    of them serves both.
    """
    true = model.mel(waveforms)
    fake = model(true if mels is None else mels)
    mel, detail = row_means((model.mel(fake) - true).abs()).sum(), stft(waveforms, fake)
    if discriminators is None:
        zero = mel.new_zeros(())
        return VocoderLoss(mel, detail, zero, zero, zero)
    real = discriminators(waveforms)
    told = discriminator_loss(real, discriminators(fake.detach()))
    discriminators.requires_grad_(False)
    verdicts = discriminators(fake)
    discriminators.requires_grad_(True)
    return VocoderLoss(mel, detail, adversarial_loss(verdicts), matching_loss(real, verdicts), told)
