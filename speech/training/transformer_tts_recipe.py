"""Settings of the training of a Transformer TTS, without torch, so that --help answers at once."""

from dataclasses import dataclass, field
from typing import Any

from speech.nn.transformer_tts_config import TransformerTTSConfig, TransformerTTSLossConfig
from speech.training.config import OptimConfig, TrainConfig
from speech.training.run import describe_data, sha256_of
from speech.training.voice_config import VoiceDataConfig


@dataclass
class TransformerTTSRecipe:
    """Everything the training of a Transformer TTS is told."""

    model: TransformerTTSConfig = field(default_factory=TransformerTTSConfig)
    data: VoiceDataConfig = field(default_factory=VoiceDataConfig)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(clip=1.0))
    train: TrainConfig = field(default_factory=lambda: TrainConfig(out="exp/transformer_tts"))
    loss: TransformerTTSLossConfig = field(default_factory=TransformerTTSLossConfig)
    durations: str = ""
    """durations.npz of the aligner for train and dev: they teach the supervised head and measure all heads"""
    diagonal_after_steps: int = 5000
    """from the first validation at or after it, a run without a diagonal stops"""
    diagonal_focus: float = 0.2
    """focus rate on dev that the best head must reach by then"""
    diagonal_agreement: float = 0.5
    """share of dev frames where it must be within a phoneme of the durations, if given; a line may have 0.65"""

    def describe(self) -> dict[str, Any]:
        found = describe_data(self, self.data)
        found = {name: value for name, value in found.items() if not name.startswith("diagonal_")}
        return found | ({"the durations": sha256_of(self.durations)} if self.durations else {})
