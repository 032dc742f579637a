"""Doubts about a text after its search: loops, low confidence, silence, and a CTC head that heard something else."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from speech.search.ctc_prefix import ctc_greedy, ctc_score


@dataclass(frozen=True)
class Verdict:
    reasons: list[str]
    """for doubt, each with its value and limit; none for a text that passes"""
    no_speech_prob: float = 0.0
    silent: bool = False
    """nothing was said: the text is made up"""
    agreement: float = 0.0
    """with the CTC head; 0 without one"""

    def better_than(self, other: "Verdict") -> bool:
        return (len(self.reasons), -self.agreement) < (len(other.reasons), -other.agreement)


@dataclass(frozen=True)
class Guards:
    """Limits past which a text is doubted; the first three are whisper's. None: not looked at."""

    compression_ratio: float | None = 2.4
    """bytes per zlib byte; above it the text is a loop"""
    logprob: float | None = -1.0
    """mean log-probability of the tokens; below it the model guesses"""
    no_speech: float | None = 0.6
    """probability that nothing was said; above it the text is made up"""
    ctc_agreement: float | None = 0.1
    """below it the text has lost, made up or repeated much of what the CTC head heard"""

    def judge(
        self,
        text: str,
        avg_logprob: float,
        compression_ratio: float,
        no_speech_prob: float | None = None,
        ctc_agreement: float | None = None,
    ) -> Verdict:
        """The last two are None for a model without a CTC head."""
        reasons = [
            f"{name} {value:.3g} is {side} {limit:g}"
            for name, value, side, limit in (
                ("compression_ratio", compression_ratio, "above", self.compression_ratio),
                ("avg_logprob", avg_logprob, "below", self.logprob),
                ("no_speech_prob", no_speech_prob if text else None, "above", self.no_speech),
                ("ctc_agreement", ctc_agreement, "below", self.ctc_agreement),
            )
            if value is not None and limit is not None and (value > limit if side == "above" else value < limit)
        ]
        silent = any(reason.startswith("no_speech_prob") for reason in reasons)
        return Verdict(reasons, no_speech_prob or 0.0, silent, ctc_agreement or 0.0)


def no_speech_prob(log_probs: np.ndarray, blank: int) -> float:
    """CTC probability [T, V] of the empty text."""
    return float(np.exp(ctc_score(log_probs, [], blank)))


def ctc_agreement(log_probs: np.ndarray, ids: Sequence[int], blank: int) -> float:
    """How likely a text is to the CTC [T, V], against what it heard itself: the ratio of the probabilities, the n-th
    root for n tokens of the longer one. 1 where they agree, 0 where the frames have no room for the text.

    Unlike an edit distance it forgives what sounds alike and sees half a text missing.
    """
    heard = ctc_greedy(log_probs, blank)
    ratio = ctc_score(log_probs, ids, blank) - ctc_score(log_probs, heard, blank)
    return float(np.exp(min(0.0, ratio) / max(1, len(ids), len(heard))))
