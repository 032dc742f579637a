"""Settings of the trainings of a voice, without torch, so that --help answers at once."""

from dataclasses import dataclass, field
from typing import Any

from speech.data.config import AugmentConfig, DataConfig
from speech.nn.mel_config import MelConfig
from speech.nn.tts_config import AlignerConfig, FastSpeechConfig
from speech.training.config import OptimConfig, TrainConfig
from speech.training.run import describe_data, sha256_of


def _voice_data() -> DataConfig:
    return DataConfig(prompt_format="phonemes", batch_seconds=40.0, augment=AugmentConfig(speeds=[1.0]))


@dataclass
class AlignerRecipe:
    """Everything the training of an aligner is told."""

    mel: MelConfig = field(default_factory=MelConfig)
    model: AlignerConfig = field(default_factory=AlignerConfig)
    data: DataConfig = field(default_factory=_voice_data)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(weight_decay=0.0))
    train: TrainConfig = field(default_factory=lambda: TrainConfig(out="exp/aligner"))
    hard_share: float = 0.33
    """share of the steps before the soft alignment is pulled to the hard one"""

    def describe(self) -> dict[str, Any]:
        return describe_data(self, self.data)


@dataclass
class FastSpeechRecipe:
    """Everything the training of a FastSpeech is told."""

    model: FastSpeechConfig = field(default_factory=FastSpeechConfig)
    data: DataConfig = field(default_factory=_voice_data)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=lambda: TrainConfig(out="exp/fastspeech"))
    durations: str = ""
    """durations.npz that the aligner wrote for train and dev"""
    duration_weight: float = 0.5

    def describe(self) -> dict[str, Any]:
        return describe_data(self, self.data) | {"the durations": sha256_of(self.durations)}
