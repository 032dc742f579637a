"""Losses of the Transformer TTS as sums with weights, and what its attention tells: focus rates and durations.

A decoder step t covers r mel frames; T/r steps, rounded up, are a row's own.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from speech.models.losses import WeightedSum
from speech.models.transformer_tts import TransformerTTSOut
from speech.nn.masks import valid
from speech.nn.transformer_tts_config import Heads, TransformerTTSLossConfig, resolve_heads


class TransformerTTSLoss(NamedTuple):
    before: WeightedSum  # L1 ahead of the post-net, mean over bins, per frame
    after: WeightedSum  # the same behind it
    stop: WeightedSum  # per decoder step
    guided: WeightedSum  # per cell of the valid area and chosen head, as in ESPnet
    supervised: WeightedSum | None  # per decoder step; None without durations
    focus: WeightedSum  # focus rate of the guided head that is best in each row, per row


class Durations(NamedTuple):
    frames: Tensor  # [B, N] mel frames of each phoneme, 0 allowed; a row sums to its mel's length
    focus: Tensor  # [B] focus rate of the head they are from
    head: Tensor  # [B, 2] layer and head


def transformer_tts_loss(
    out: TransformerTTSOut,
    mel: Tensor,
    mel_lengths: Tensor,
    phoneme_lengths: Tensor,
    reduction: int,
    config: TransformerTTSLossConfig,
    durations: Tensor | None = None,
) -> TransformerTTSLoss:
    """mel [B, T, F]; durations [B, N], the mel frames of each phoneme, turn on the supervised head."""
    layers, n_heads = len(out.attention), out.attention[0].size(1)
    steps = -(-mel_lengths // reduction)
    guided = pick(out.attention, resolve_heads("guided_heads", config.guided_heads, layers, n_heads))
    supervised = None
    if durations is not None:
        (head,) = resolve_heads("supervised_head", (config.supervised_head,), layers, n_heads)
        attention = pick(out.attention, (head,))[:, 0]
        supervised = supervised_loss(attention, path_of(durations, mel_lengths, reduction, out.stop.size(1)), steps)
    best = focus_rates([guided], steps).amax((1, 2)).detach()
    return TransformerTTSLoss(
        l1_loss(out.mel_before, mel, mel_lengths),
        l1_loss(out.mel, mel, mel_lengths),
        stop_loss(out.stop, steps, config.stop_positive),
        guided_loss(guided, phoneme_lengths, steps, config.guided_sigma),
        supervised,
        WeightedSum(best.sum(), best.new_tensor(len(best))),
    )


def pick(attention: list[Tensor], heads: Heads) -> Tensor:
    """[B, len(heads), T, N] of the chosen heads."""
    return torch.stack([attention[layer][:, head] for layer, head in heads], 1)


def l1_loss(told: Tensor, mel: Tensor, lengths: Tensor) -> WeightedSum:
    keep = valid(lengths, mel.size(1))
    return WeightedSum(((told - mel).abs().mean(2) * keep).sum(), keep.sum())


def stop_loss(logits: Tensor, steps: Tensor, positive: float) -> WeightedSum:
    """logits [B, T]: the last of a row's steps is its stop."""
    last = torch.arange(logits.size(1), device=logits.device) == steps[:, None] - 1
    weight = logits.new_tensor(positive)
    losses = F.binary_cross_entropy_with_logits(logits, last.to(logits.dtype), reduction="none", pos_weight=weight)
    keep = valid(steps, logits.size(1))
    return WeightedSum((losses * keep).sum(), keep.sum())


def guide(phoneme_lengths: Tensor, steps: Tensor, sigma: float, shape: tuple[int, int]) -> Tensor:
    """1 - exp(-(n/N - t/T)^2 / (2 sigma^2)), [B, T, N] of `shape` (arXiv 1710.08969 section 4.1), 0 on padding."""
    n = torch.arange(shape[1], device=steps.device) / phoneme_lengths[:, None]
    t = torch.arange(shape[0], device=steps.device) / steps[:, None]
    area = valid(steps, shape[0])[:, :, None] & valid(phoneme_lengths, shape[1])[:, None]
    return (1 - torch.exp(-((n[:, None] - t[:, :, None]) ** 2) / (2 * sigma**2))) * area


def guided_loss(attention: Tensor, phoneme_lengths: Tensor, steps: Tensor, sigma: float) -> WeightedSum:
    """attention [B, heads, T, N]: what lies away from the diagonal."""
    weight = guide(phoneme_lengths, steps, sigma, (attention.size(2), attention.size(3)))
    return WeightedSum((attention * weight[:, None]).sum(), (phoneme_lengths * steps).sum() * attention.size(1))


def guided_weight(config: TransformerTTSLossConfig, focus: float) -> float:
    """The factor of the guided loss at a focus rate, best a running mean over batches."""
    start, end = config.guided_focus
    return config.guided_weight * min(1.0, max(0.0, (end - focus) / (end - start)))


def path_of(durations: Tensor, mel_lengths: Tensor, reduction: int, steps: int) -> Tensor:
    """[B, N] -> [B, steps] phoneme at the middle frame of each decoder step; the last one's past a row's end."""
    middle = torch.arange(steps, device=durations.device) * reduction + (reduction - 1) // 2
    frame = torch.minimum(middle, mel_lengths[:, None] - 1)
    return (frame[..., None] >= durations.cumsum(1)[:, None]).sum(2).clamp(max=durations.size(1) - 1)


def supervised_loss(attention: Tensor, path: Tensor, steps: Tensor) -> WeightedSum:
    """Cross-entropy of a head's attention [B, T, N] against the phoneme it should see at each step [B, T]."""
    chance = attention.float().gather(2, path[..., None])[..., 0]
    keep = valid(steps, path.size(1))
    return WeightedSum(-((chance + 1e-8).log() * keep).sum(), keep.sum())


def focus_rates(attention: list[Tensor], steps: Tensor) -> Tensor:
    """Mean over a row's steps of the largest weight, [B, L, H] (arXiv 1905.09263 section 3.3)."""
    sharp = torch.stack([a.amax(3) for a in attention], 1).float()  # [B, L, H, T]
    keep = valid(steps, sharp.size(3))[:, None, None]
    return (sharp * keep).sum(3) / steps[:, None, None]


def agreement(attention: list[Tensor], durations: Tensor, mel_lengths: Tensor, reduction: int) -> Tensor:
    """Mel frames of each head, [L, H], whose step looks most at the path's phoneme or at one beside it.

    durations [B, N] are those of the path; out of all frames of the batch, mel_lengths.sum().
    """
    frames = int(mel_lengths.max())
    path = path_of(durations, mel_lengths, 1, frames)[:, None, None]  # [B, 1, 1, T]
    seen = torch.stack([a.argmax(3) for a in attention], 1).repeat_interleave(reduction, 3)[
        ..., :frames
    ]  # [B, L, H, T]
    return (((seen - path).abs() <= 1) & valid(mel_lengths, frames)[:, None, None]).sum((0, 3))


def extract_durations(
    attention: list[Tensor], mel_lengths: Tensor, reduction: int, head: tuple[int, int] | None = None
) -> Durations:
    """Frames whose step looks most at each phoneme, by `head` or by the one of largest focus rate in each row.

    A large focus rate alone does not make an alignment: compare with the aligner before use.
    """
    steps, n_heads = -(-mel_lengths // reduction), attention[0].size(1)
    rates = focus_rates(attention, steps).flatten(1)  # [B, L * H]
    best = rates.argmax(1)
    if head is not None:
        ((layer, h),) = resolve_heads("head", (head,), len(attention), n_heads)
        best = torch.full_like(best, layer * n_heads + h)
    rows = torch.arange(len(best), device=best.device)
    chosen = torch.stack(attention, 1).flatten(1, 2)[rows, best]  # [B, T, N]
    first = torch.arange(chosen.size(1), device=best.device) * reduction
    frames = (mel_lengths[:, None] - first).clamp(0, reduction)  # [B, T] frames of each step
    counts = frames.new_zeros(len(best), chosen.size(2)).scatter_add(1, chosen.argmax(2), frames)
    return Durations(counts, rates[rows, best], torch.stack([best // n_heads, best % n_heads], 1))
