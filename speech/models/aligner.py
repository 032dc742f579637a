"""Alignment of phonemes and mel frames learned without a teacher (One TTS Alignment, arXiv 2108.10447)."""

import torch
import torch.nn.functional as F
import torchaudio.functional as AF
from torch import Tensor, nn

from speech.errors import DataError
from speech.models.fft_block import TimeConv
from speech.models.length_regulator import phoneme_of_frames
from speech.models.losses import WeightedSum
from speech.nn.masks import valid
from speech.nn.tts_config import AlignerConfig

BLANK_SCORE = -1.0
NEVER = -1e4  # score of padding and of what is forbidden: finite, so that no gradient is NaN


class Aligner(nn.Module):
    """Phonemes [B, N] and normalised log-mels [B, T, F] -> scores [B, T, N]: at each frame the log probability of each
    phoneme, by its squared distance times -temperature, with the log prior added if asked."""

    def __init__(self, config: AlignerConfig, n_symbols: int, n_mels: int):
        super().__init__()
        self.config, d = config, config.d_attention
        self.embed = nn.Embedding(n_symbols, config.d_embed)
        wide = config.text_filters
        self.text = nn.ModuleList([TimeConv(config.d_embed, wide, 3), TimeConv(wide, d, 1)])
        wide = config.mel_filters
        self.mel = nn.ModuleList([TimeConv(n_mels, wide, 3), TimeConv(wide, d, 3), TimeConv(d, d, 1)])

    def forward(
        self, phonemes: Tensor, phoneme_lengths: Tensor, mel: Tensor, mel_lengths: Tensor, prior: bool = True
    ) -> Tensor:
        """NEVER at padded phonemes. The prior believes in a straight line, broadly: the first steps need it."""
        text_keep, mel_keep = valid(phoneme_lengths, phonemes.size(1)), valid(mel_lengths, mel.size(1))
        keys = _convolve(self.text, self.embed(phonemes), text_keep)
        queries = _convolve(self.mel, mel, mel_keep)
        scores = -self.config.temperature * torch.cdist(queries.float(), keys.float()).square()
        # normalised first: raw scores sink as distances grow, and the blank, whose score is fixed, takes the frames
        scores = scores.masked_fill(~text_keep[:, None], NEVER).log_softmax(-1)
        if prior:
            scores = scores + log_prior(mel_lengths, phoneme_lengths, mel.size(1), phonemes.size(1))
        return scores.masked_fill(~text_keep[:, None], NEVER)


def _convolve(convs: nn.ModuleList, x: Tensor, keep: Tensor) -> Tensor:
    """Convolutions with ReLU between; padding enters none of them."""
    for i, conv in enumerate(convs):
        x = conv((F.relu(x) if i else x) * keep[..., None])
    return x


def log_prior(mel_lengths: Tensor, phoneme_lengths: Tensor, frames: int, phonemes: int) -> Tensor:
    """[B] and [B] -> [B, T, N]: log probability of phoneme k = 0 ... N - 1 at frame t = 1 ... T, beta-binomial with
    n = N - 1, alpha = t, beta = T + 1 - t. Behind a length the values hold no meaning."""
    device = mel_lengths.device
    t = torch.arange(1, frames + 1, device=device)[None, :, None]
    n = (phoneme_lengths - 1)[:, None, None]
    k = torch.arange(phonemes, device=device)[None, None].minimum(n)
    alpha, beta = t, (mel_lengths[:, None, None] + 1 - t).clamp_min(1)
    # double, as differences of large numbers follow; the index is the number whose factorial is meant
    log_factorial = torch.arange(1, frames + phonemes + 1, device=device, dtype=torch.float64).lgamma()

    def log_beta(a: Tensor, b: Tensor) -> Tensor:
        return log_factorial[a - 1] + log_factorial[b - 1] - log_factorial[a + b - 1]

    choices = log_factorial[n] - log_factorial[k] - log_factorial[n - k]
    return (choices + log_beta(k + alpha, n - k + beta) - log_beta(alpha, beta)).float()


def forward_sum_loss(scores: Tensor, mel_lengths: Tensor, phoneme_lengths: Tensor) -> WeightedSum:
    """-log of the sum over all monotonic alignments, by CTC with one blank; per phoneme.

    An utterance with fewer frames than phonemes counts zero here and is refused by `hard_durations`.
    """
    log_probs = F.pad(scores.float(), (1, 0), value=BLANK_SCORE).log_softmax(-1).transpose(0, 1)  # [T, B, 1 + N]
    targets = torch.arange(1, scores.size(2) + 1, device=scores.device).expand(scores.size(0), -1)
    losses = F.ctc_loss(log_probs, targets, mel_lengths, phoneme_lengths, reduction="none", zero_infinity=True)
    return WeightedSum(losses.sum(), phoneme_lengths.sum())


def hard_durations(scores: Tensor, mel_lengths: Tensor, phoneme_lengths: Tensor) -> Tensor:
    """Frames of each phoneme [B, N] on the best monotonic path: at least 1 each, together all frames."""
    durations = torch.zeros(scores.size(0), scores.size(2), dtype=torch.long)
    for i, (frames, phonemes) in enumerate(zip(mel_lengths.tolist(), phoneme_lengths.tolist(), strict=True)):
        if frames < phonemes:
            raise DataError(
                f"utterance {i} of the batch has {phonemes} phonemes and {frames} mel frames, and each needs one: "
                "leave it out, or set a smaller mel.hop"
            )
        log_probs = scores[i, :frames, :phonemes].detach().float().log_softmax(-1).cpu()
        emission = F.pad(log_probs, (1, 0), value=frames * NEVER)[None]  # class 0, the blank, is forbidden
        path, _ = AF.forced_align(emission, torch.arange(1, phonemes + 1)[None], blank=0)  # takes one at a time
        durations[i, :phonemes] = torch.bincount(path[0] - 1, minlength=phonemes)
    return durations.to(scores.device)


def binarisation_loss(scores: Tensor, durations: Tensor, mel_lengths: Tensor) -> WeightedSum:
    """-log probability of the hard path's phonemes, per frame: pulls the soft alignment to the hard one."""
    path = phoneme_of_frames(durations, scores.size(1))
    log_probs = scores.float().log_softmax(-1).gather(2, path[..., None])[..., 0]
    keep = valid(mel_lengths, scores.size(1))
    return WeightedSum(-(log_probs * keep).sum(), keep.sum())


def focus(scores: Tensor) -> Tensor:
    """[B, T, N] -> [B, T] weight of the likeliest phoneme of each frame; its mean is the focus rate."""
    return scores.float().log_softmax(-1).amax(-1).exp()
