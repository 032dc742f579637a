"""Data settings, without torch, so that --help answers at once."""

from dataclasses import dataclass, field
from typing import Literal

from speech.errors import SpeechError, above_zero

SUFFIXES = (".jsonl", ".jsonl.gz")  # of manifests


@dataclass
class AugmentConfig:
    """Augmentation of the training audio."""

    speeds: list[float] = field(default_factory=lambda: [0.9, 1.0, 1.1])
    """speed factors drawn with equal chance per utterance and epoch; [1.0] turns it off"""
    tempos: list[float] = field(default_factory=lambda: [1.0])
    """factors of speed that keep the pitch, drawn in the same way"""
    noise_prob: float = 0.5
    noise_snr_db: tuple[float, float] = (15.0, 40.0)
    """white noise at a signal-to-noise ratio drawn from this range"""
    noise_manifest: str = ""
    """cuts mixed in instead of white noise, each from a random point on"""
    freq_masks: int = 2
    freq_width: int = 6
    """bins"""
    time_masks: int = 2
    time_width: int = 8
    """frames"""

    def __post_init__(self) -> None:
        for name, factors in (("speeds", self.speeds), ("tempos", self.tempos)):
            if not factors or min(factors) <= 0:
                raise SpeechError(f"data.augment.{name} {factors} needs factors above 0; [1.0] turns it off")

    @property
    def paces(self) -> list[float]:
        """Factors by which an utterance may become shorter, each one once."""
        return sorted({speed * tempo for speed in self.speeds for tempo in self.tempos})


@dataclass
class DataConfig:
    """Utterances, tokens, batches."""

    train: str = ""
    """manifest (.jsonl, .jsonl.gz), Shar folder, or a .yaml with several of them and their weights"""
    dev: str = ""
    tokenizer: str = ""
    """tokenizer.model made by the recipe"""
    bins: str = ""
    """bins.json made by `speech data bins`: cuts outside its edges are left out and counted"""
    strict: bool = True
    """a cut with more tokens than its bin of durations is left out; false: it may go to a longer bin"""
    batch_sizes: str = ""
    """profile made by `speech data batch-sizes` for the bins; without it batch_seconds rules"""
    force_batch_sizes: bool = False
    """use a profile that was made for another device, model or bins"""
    batch_seconds: float = 360.0
    """audio seconds per batch, padding included, with every cut counted d + d^2 / quadratic_seconds long"""
    quadratic_seconds: float = 15.0
    """length at which attention costs as much as all else; 0 counts plain seconds"""
    pool_cuts: int = 20000
    """cuts among which neighbours in length are found: more is less padding, fewer is more randomness"""
    short_epochs: int = 0
    """epochs at the start that hold only cuts of up to short_seconds: the decoder learns to align sooner on them"""
    short_seconds: float = 0.0
    max_seconds: float = 30.0
    """longer cuts are left out and counted"""
    max_lost: float = 0.01
    """share of the cuts read that may have lost their audio since the manifest was made; above it training stops"""
    workers: int = 0
    language: str = "en"
    punctuation: bool = False
    prompt_format: Literal["canary", "canary2", "firered", "phonemes"] = "canary"
    """slots before the text"""
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        above_zero("data", self, "batch_seconds", "pool_cuts", "max_seconds")
        if self.quadratic_seconds < 0:
            raise SpeechError(f"data.quadratic_seconds {self.quadratic_seconds} must be 0 or more")
        if self.batch_sizes and not self.bins:
            raise SpeechError("data.batch_sizes needs the data.bins it was made for")
