"""Settings of the trainings of a voice, without torch, so that --help answers at once."""

from dataclasses import dataclass, field
from typing import Any, Literal

from speech.data.config import AugmentConfig, DataConfig
from speech.errors import SpeechError
from speech.nn.mel_config import MelConfig
from speech.nn.transformer_tts_config import TransformerTTSConfig, TransformerTTSLossConfig
from speech.nn.tts_config import AlignerConfig, FastSpeechConfig
from speech.training.config import OptimConfig, TrainConfig
from speech.training.run import describe_data


@dataclass
class VoiceDataConfig(DataConfig):
    """Utterances, phonemes, batches."""

    batch_seconds: float = 40.0
    # what only recognisers are told
    language: str = field(default="en", init=False)  # the prepared voice's own
    punctuation: bool = field(default=False, init=False)
    prompt_format: Literal["canary", "canary2", "firered", "phonemes"] = field(default="phonemes", init=False)
    augment: AugmentConfig = field(default_factory=lambda: AugmentConfig(speeds=[1.0]), init=False)


@dataclass
class AlignerRecipe:
    """Everything the training of an aligner is told."""

    mel: MelConfig = field(default_factory=MelConfig)
    model: AlignerConfig = field(default_factory=AlignerConfig)
    data: VoiceDataConfig = field(default_factory=VoiceDataConfig)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(weight_decay=0.0))
    train: TrainConfig = field(default_factory=lambda: TrainConfig(out="exp/aligner"))
    hard_share: float = 0.33
    """share of the steps before the soft alignment is pulled to the hard one"""
    also: list[str] = field(default_factory=list)
    """manifests whose durations are written too, such as the test set"""

    def describe(self) -> dict[str, Any]:
        return describe_data(self, self.data, {})


@dataclass
class FastSpeechRecipe:
    """Everything the training of a FastSpeech is told. Speakers and languages are those of the prepared voice."""

    model: FastSpeechConfig = field(default_factory=FastSpeechConfig)
    data: VoiceDataConfig = field(default_factory=VoiceDataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=lambda: TrainConfig(out="exp/fastspeech"))
    durations: str = ""
    """durations.npz that the aligner wrote for train and dev"""
    pitch: str = ""
    """pitch.npz of recipes.measure_prosody, for model.pitch"""
    energy: str = ""
    """energy.npz of recipes.measure_prosody, for model.energy"""
    mels: str = ""
    """mels by id that a teacher wrote, natural logarithm, to learn from in the place of the recordings"""
    stretch: float = 1.0
    """mels are drawn out or together by a factor of 1 / stretch ... stretch: far length scales then stay clear"""
    guess: float = 0.0
    """share of utterances that learn to sound by their predicted pitch and energy, as all will later"""
    duration_weight: float = 0.5
    pitch_weight: float = 0.1
    """of the errors of pitch and of voicing"""
    energy_weight: float = 0.1

    def __post_init__(self) -> None:
        if not 1 <= self.stretch <= 4:
            raise SpeechError(f"stretch {self.stretch:g} is outside 1 ... 4")
        if not 0 <= self.guess <= 1:
            raise SpeechError(f"guess {self.guess:g} is outside 0 ... 1")

    def arrays(self) -> dict[str, str]:
        """Paths of what the model learns from, by name. SpeechError for one that is missing."""
        wanted = {"durations": True, "pitch": self.model.pitch, "energy": self.model.energy, "mels": bool(self.mels)}
        paths = {name: getattr(self, name) for name, is_wanted in wanted.items() if is_wanted}
        for name, path in paths.items():
            if not path:
                writer = "train_aligner" if name == "durations" else "measure_prosody"
                why = "" if name == "durations" else f" and model.{name} is true"
                raise SpeechError(f"{name} is empty{why}: give --{name} PATH, which recipes.{writer} writes")
        return paths

    def describe(self) -> dict[str, Any]:
        return describe_data(self, self.data, {f"the file of {name}": path for name, path in self.arrays().items()})


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
        return describe_data(self, self.data, {"the durations": self.durations})
