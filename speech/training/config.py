"""Training settings, without torch, so that --help answers at once."""

from dataclasses import dataclass, field
from typing import Literal

from speech.data.config import DataConfig
from speech.errors import SpeechError, above_zero
from speech.generation import SearchDefaults
from speech.nn.config import AEDConfig


@dataclass
class OptimConfig:
    """AdamW and its learning rate."""

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    warmup_steps: int = 150
    schedule: Literal["cosine", "inverse_sqrt"] = "cosine"
    clip: float = 5.0
    freeze: list[str] = field(default_factory=list)
    """parts that stay as they are, by the beginnings of their parameters' names: [encoder, decoder.embed]"""
    layer_decay: float = 1.0
    """block i of n of the encoder learns at lr x layer_decay^(n - i), its subsampling as block 1, all else at lr"""

    def __post_init__(self) -> None:
        if not 0 < self.layer_decay <= 1:
            raise SpeechError(f"optim.layer_decay {self.layer_decay} is outside 0 ... 1 (0 excluded)")


@dataclass
class TrainConfig:
    """The run."""

    out: str = "exp/asr"
    """run folder: checkpoints, logs, model folder"""
    seed: int = 1
    max_steps: int = 10000
    valid_every_steps: int = 500
    save_every_steps: int = 250
    log_every_steps: int = 50
    keep: int = 3
    """checkpoints kept on disk; the same ones are averaged at the end"""
    resume_inexact: bool = False
    """go on from the checkpoints of `out` although settings or data have changed"""
    accumulate: int = 1
    """batches per optimiser step"""
    precision: Literal["auto", "32", "bf16"] = "auto"
    """auto: bf16 on a GPU that has it, 32 elsewhere"""
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = 1
    threads: int = 0
    """CPU threads; 0 leaves torch's choice"""

    def __post_init__(self) -> None:
        steps = ("max_steps", "valid_every_steps", "save_every_steps", "log_every_steps")
        above_zero("train", self, *steps, "keep", "accumulate", "devices")


@dataclass
class AEDTrainConfig(TrainConfig):
    """The run of a recogniser."""

    ctc_weight: float = 0.3
    ctc_prior_steps: int = 0
    """steps over which CTC believes, less and less, that a text is spoken evenly: it leaves its plateau sooner"""
    label_smoothing: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.ctc_weight < 1:
            raise SpeechError(f"train.ctc_weight {self.ctc_weight} is outside 0 ... 1 (1 excluded)")
        if self.ctc_prior_steps < 0:
            raise SpeechError(f"train.ctc_prior_steps {self.ctc_prior_steps} must be 0 or more")


@dataclass
class AEDRecipe:
    """Everything `speech train` is told."""

    init: str = ""
    """model folder to start from: weights, and every model, prompt and search setting that is not given"""
    model: AEDConfig = field(default_factory=AEDConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: AEDTrainConfig = field(default_factory=AEDTrainConfig)
    generation: SearchDefaults = field(default_factory=SearchDefaults)
    """kept in the model folder"""
