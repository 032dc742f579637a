"""Training settings, without torch, so that --help answers at once."""

from dataclasses import dataclass, field
from typing import Literal

from speech.generation import SearchDefaults
from speech.nn.config import AEDConfig


@dataclass
class AugmentConfig:
    speeds: list[float] = field(default_factory=lambda: [0.9, 1.0, 1.1])
    """speed factors drawn with equal chance per utterance and epoch; [1.0] turns it off"""
    noise_prob: float = 0.5
    noise_snr_db: list[float] = field(default_factory=lambda: [15.0, 40.0])
    """white noise at a signal-to-noise ratio drawn from this range"""
    noise_manifest: str = ""
    """cuts mixed in instead of white noise"""
    freq_masks: int = 2
    freq_width: int = 6
    """bins"""
    time_masks: int = 2
    time_width: int = 8
    """frames"""


@dataclass
class DataConfig:
    train: str = ""
    """manifest of training cuts (.jsonl or .jsonl.gz)"""
    dev: str = ""
    tokenizer: str = ""
    """tokenizer.model made by the recipe"""
    batch_seconds: float = 200.0
    """audio seconds per batch, padding included"""
    buckets: int = 10
    short_first: int = 0
    """batches at the start of training that hold the shortest cuts, shortest first"""
    max_seconds: float = 30.0
    """longer cuts are left out and counted"""
    workers: int = 0
    language: str = "en"
    punctuation: bool = False
    augment: AugmentConfig = field(default_factory=AugmentConfig)


@dataclass
class OptimConfig:
    lr: float = 1e-3
    betas: list[float] = field(default_factory=lambda: [0.9, 0.98])
    weight_decay: float = 0.01
    warmup_steps: int = 150
    schedule: Literal["cosine", "inverse_sqrt"] = "cosine"
    clip: float = 5.0


@dataclass
class TrainConfig:
    out: str = "exp/asr"
    """run folder: checkpoints, logs, model folder"""
    seed: int = 1
    max_steps: int = 10000
    valid_every_steps: int = 500
    save_every_steps: int = 250
    log_every_steps: int = 50
    keep: int = 3
    """checkpoints kept on disk; the same ones are averaged at the end"""
    accumulate: int = 1
    precision: Literal["auto", "32", "bf16"] = "auto"
    """auto: bf16 on a GPU that has it, 32 elsewhere"""
    devices: int = 1
    threads: int = 0
    """CPU threads; 0 leaves torch's choice"""
    ctc_weight: float = 0.3
    label_smoothing: float = 0.1


@dataclass
class AEDRecipe:
    model: AEDConfig = field(default_factory=AEDConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    generation: SearchDefaults = field(default_factory=SearchDefaults)
    """kept in the model folder"""
