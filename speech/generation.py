"""Decoding defaults that travel with a model, without torch, so that --help answers at once."""

from dataclasses import dataclass


@dataclass
class SearchDefaults:
    """Decoding defaults."""

    beam_size: int = 1
    """1 is greedy"""
    length_penalty: float = 0.6
    """alpha of ((5 + len) / 6)^alpha (arXiv 1609.08144 section 7)"""
    max_tokens_per_second: float = 12.0
    """cap of the text length by the audio"""
    extra_tokens: int = 8
    """added to that cap"""
    pad_seconds: float = 0.0
    """silence put at both ends before recognition"""
    max_seconds: float = 60.0
    """longest recording; a longer one is refused"""


@dataclass
class GenerationConfig(SearchDefaults):
    """generation_config.json of a model folder."""

    language: str = "en"
    punctuation: bool = False
