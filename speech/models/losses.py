"""Losses as sums with weights: the mean is taken once, over all ranks."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from speech.models.aed import AED
from speech.models.even_prior import even_prior
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


def ctc_loss(
    log_probs: Tensor, lengths: Tensor, text: Tensor, text_lengths: Tensor, blank: int, prior: Tensor | None = None
) -> Tensor:
    """CTC (Graves et al. 2006): [B, T, V] of a log-softmax, [B, U] -> [B], -log of the sum over all alignments.

    A log prior [B, T, U'] of each token at each frame weighs the alignments; equal neighbours then need no blank
    between them. An utterance with fewer frames than CTC needs counts zero.
    """
    if prior is None:
        asked = log_probs.transpose(0, 1), text, lengths, text_lengths, blank
        return F.ctc_loss(*asked, reduction="none", zero_infinity=True)
    count = prior.size(2)
    own = log_probs.gather(2, text[:, None, :count].expand(-1, log_probs.size(1), -1)) + prior
    own = own.masked_fill(~valid(text_lengths, count)[:, None], -1e4)
    scores = torch.cat([log_probs[..., blank : blank + 1], own], -1)
    total = scores.logsumexp(-1, keepdim=True)  # CTC's gradient is right for normalised scores only
    ids = torch.arange(1, count + 1, device=text.device).expand(len(text), -1)
    sums = F.ctc_loss(
        (scores - total).transpose(0, 1), ids, lengths, text_lengths, reduction="none", zero_infinity=True
    )
    fits = (lengths >= text_lengths)[:, None] & valid(lengths, log_probs.size(1))
    return sums - (total[..., 0] * fits).sum(1)


def aed_loss(
    model: AED,
    features: Tensor,
    feature_lengths: Tensor,
    tokens: Tensor,
    token_lengths: Tensor,
    prompt_lengths: Tensor,
    smoothing: float,
    blank: int,
    even: float = 0.0,
) -> AEDLoss:
    """tokens [B, U] hold prompt, text and eos; prompt ids are given, so only text and eos are in the loss.

    CTC sees the text alone, and with `even` above zero this much of the log prior that it is spoken evenly.
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
    log_probs, prior = model.ctc_log_probs(encoded.encoded), None
    if even > 0:
        frames, factor = log_probs.size(1), model.encoder.subsampling.factor
        prior = even * even_prior(features, feature_lengths, frames, factor, text_lengths)
    sums = ctc_loss(log_probs, encoded.lengths, text, text_lengths, blank, prior)
    return AEDLoss(attention, WeightedSum(sums.sum(), keep.sum()), correct)
