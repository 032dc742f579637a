"""Settings of a vocoder's training, without torch, so that --help answers at once."""

from dataclasses import dataclass, field
from typing import Any

from speech.errors import SpeechError, above_zero
from speech.nn.mel_config import VocosConfig
from speech.training.config import OptimConfig, TrainConfig
from speech.training.run import describe_files


@dataclass
class CropConfig:
    """Recordings and the crops of a batch."""

    train: str = ""
    """manifest (.jsonl, .jsonl.gz)"""
    dev: str = ""
    mels: str = ""
    """mels.npz of train and dev that recipes.predict_mels writes: the vocoder's input in place of the true mels"""
    crop_samples: int = 8192
    """length of a crop, a multiple of model.mel.hop; shorter cuts are left out"""
    crops: int = 16
    """crops per batch"""
    cache_seconds: float = 3600.0
    """decoded audio kept in memory, 88 kB a second at 22050 Hz, shared among the loaders"""
    max_lost: float = 0.01
    """share of the crops that may have lost their audio since the manifest was made; above it training stops"""
    workers: int = 0

    def __post_init__(self) -> None:
        above_zero("data", self, "crop_samples", "crops")


@dataclass
class GANConfig:
    """Weights of the losses and sizes of the discriminators."""

    warmup_share: float = 0.2
    """share of the steps at the beginning without discriminators; 1 trains without them"""
    mel_weight: float = 45.0
    stft_weight: float = 1.0
    adversarial_weight: float = 1.0
    matching_weight: float = 2.0
    period_channels: int = 8
    """width of the first layer of the period discriminators; HiFi-GAN has 32, at about ten times the cost"""
    resolution_channels: int = 16

    def __post_init__(self) -> None:
        above_zero("gan", self, "period_channels", "resolution_channels")
        if not 0 <= self.warmup_share <= 1:
            raise SpeechError(f"gan.warmup_share {self.warmup_share} is outside 0 ... 1")


@dataclass
class VocoderRecipe:
    """Everything the vocoder's training is told."""

    init: str = ""
    """vocoder folder to start from; its settings stand in place of `model`"""
    model: VocosConfig = field(default_factory=VocosConfig)
    data: CropConfig = field(default_factory=CropConfig)
    gan: GANConfig = field(default_factory=GANConfig)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=5e-4, betas=(0.8, 0.9), clip=1000.0))
    """the clip holds for the model and for the discriminators, each by itself; the model often has 150 ... 450"""
    train: TrainConfig = field(default_factory=lambda: TrainConfig(out="exp/vocoder"))

    def __post_init__(self) -> None:
        if self.train.devices != 1:
            raise SpeechError(f"train.devices {self.train.devices}: a vocoder is trained on one device, set 1")
        if self.optim.freeze or self.optim.layer_decay != 1:
            raise SpeechError("optim.freeze and optim.layer_decay are for recognisers, leave them out")
        hop, least = self.model.mel.hop, 2048  # the longest frame of the losses
        if self.data.crop_samples % hop or self.data.crop_samples < least:
            raise SpeechError(
                f"data.crop_samples {self.data.crop_samples} must be a multiple of model.mel.hop {hop}, {least} or more"
            )


def describe_vocoder(recipe: VocoderRecipe) -> dict[str, Any]:
    """What decides the losses of a run, see speech/training/run.py."""
    start = f"{recipe.init}/model.safetensors" if recipe.init else ""
    return describe_files(recipe, {"the mels": recipe.data.mels, "the initial weights": start})
