"""Losses as sums with weights: the mean is taken once, over all ranks."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from speech.models.aed import AED
from speech.nn.masks import valid


class WeightedSum(NamedTuple):
    total: Tensor  # scalar sum
    weight: Tensor  # scalar: tokens or utterances summed over


class AEDLoss(NamedTuple):
    attention: WeightedSum  # per target token
    ctc: WeightedSum | None  # per target token
    correct: Tensor  # target tokens predicted right, scalar


def attention_loss(
    logits: Tensor, targets: Tensor, keep: Tensor, smoothing: float, vocab_size: int
) -> tuple[WeightedSum, Tensor]:
    """Label-smoothed cross-entropy over the kept targets [B, U]; smoothing spreads over the true vocabulary only."""
    logits = logits[..., :vocab_size]
    losses = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none", label_smoothing=smoothing)
    correct = ((logits.argmax(-1) == targets) & keep).sum()
    return WeightedSum((losses * keep).sum(), keep.sum()), correct


def aed_loss(
    model: AED,
    features: Tensor,
    feature_lengths: Tensor,
    tokens: Tensor,
    token_lengths: Tensor,
    prompt_lengths: Tensor,
    smoothing: float,
    blank: int,
) -> AEDLoss:
    """tokens [B, U] hold prompt, text and eos; prompt ids are given, so only text and eos are in the loss.

    CTC (Graves 2006) sees the text alone; an utterance with fewer frames than CTC needs counts zero there.
    """
    encoded = model.encode_features(features, feature_lengths)
    logits = model.decoder(tokens[:, :-1], encoded.memory, encoded.mask).logits
    targets = tokens[:, 1:]
    column = torch.arange(1, tokens.size(1), device=tokens.device)
    keep = (column >= prompt_lengths[:, None]) & valid(token_lengths - 1, targets.size(1))
    attention, correct = attention_loss(logits, targets, keep, smoothing, model.vocab_size)
    if model.ctc is None:
        return AEDLoss(attention, None, correct)
    text_lengths = token_lengths - prompt_lengths - 1
    text = tokens.gather(1, (prompt_lengths[:, None] + column - 1).clamp(max=tokens.size(1) - 1))
    log_probs = model.ctc_log_probs(encoded.encoded).transpose(0, 1)
    sums = F.ctc_loss(log_probs, text, encoded.lengths, text_lengths, blank, reduction="none", zero_infinity=True)
    return AEDLoss(attention, WeightedSum(sums.sum(), keep.sum()), correct)
