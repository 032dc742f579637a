"""Decoding defaults that travel with a model, without torch, so that --help answers at once."""

from dataclasses import dataclass


@dataclass
class SearchDefaults:
    """Decoding defaults."""

    beam_size: int = 1
    """1 is greedy"""
    length_penalty: float = 0.6
    """alpha of ((5 + len) / 6)^alpha (arXiv 1609.08144 section 7)"""
    ctc_weight: float = 0.0
    """share of the CTC head in the scores of the search (arXiv 1706.02737 section 3.3)"""
    max_repeats: int = 4
    """a block of 2 to 16 tokens stands at most so many times in a row"""
    max_token_repeats: int = 10
    """one token alone: nines may be said often"""
    max_tokens_per_second: float = 12.0
    """cap of the text length by the audio"""
    extra_tokens: int = 8
    """added to that cap"""
    pad_seconds: float = 0.0
    """silence put at both ends before recognition"""
    max_seconds: float = 30.0
    """longest piece recognised at once: longer recordings are cut, in pauses where there are any"""


@dataclass
class GenerationConfig(SearchDefaults):
    """generation_config.json of a model folder."""

    language: str = "en"
    half: bool = True  # fp16 is allowed: no activation comes near its limit of 65504
    punctuation: bool = False
    min_seconds: float = 0.0  # shorter recordings get silence at both ends up to this length (Canary)
    prompt_format: str = "canary"
    temperature: float = 1.0  # divides the scores of the decoder before they are normalised
    eos_penalty: float = 1.0  # multiplies the log-probability of the end
    ended_stay: bool = False  # ended hypotheses keep their places in the beam (FireRedASR, Canary)
    rank_normalised: bool = False  # they compete by normalised scores (Canary)
    count_prompt: bool = False  # the prompt counts in the length (Canary)
