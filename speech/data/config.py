"""Data settings, without torch, so that --help answers at once."""

from dataclasses import dataclass, field

from speech.errors import SpeechError, above_zero


@dataclass
class AugmentConfig:
    """Augmentation of the training audio."""

    speeds: list[float] = field(default_factory=lambda: [0.9, 1.0, 1.1])
    """speed factors drawn with equal chance per utterance and epoch; [1.0] turns it off"""
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
        if not self.speeds or min(self.speeds) <= 0:
            raise SpeechError(f"data.augment.speeds {self.speeds} needs factors above 0; [1.0] turns it off")


@dataclass
class DataConfig:
    """Utterances, tokens, batches."""

    train: str = ""
    """manifest of training cuts (.jsonl or .jsonl.gz)"""
    dev: str = ""
    tokenizer: str = ""
    """tokenizer.model made by the recipe"""
    batch_seconds: float = 200.0
    """audio seconds per batch, padding included, before changes of speed"""
    buckets: int = 10
    short_epochs: int = 0
    """epochs at the start that hold only cuts of up to short_seconds: the decoder learns to align sooner on them"""
    short_seconds: float = 0.0
    max_seconds: float = 30.0
    """longer cuts are left out and counted"""
    workers: int = 0
    language: str = "en"
    punctuation: bool = False
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        above_zero("data", self, "batch_seconds", "buckets", "max_seconds")
