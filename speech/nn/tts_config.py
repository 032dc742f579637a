"""Settings of the synthesisers, apart from the classes they build: the command line reads them without torch."""

from dataclasses import dataclass, field

from speech.errors import SpeechError, above_zero
from speech.nn.mel_config import MelConfig
from speech.nn.stored import Stored


@dataclass
class FastSpeechConfig(Stored):
    """FastSpeech; the defaults are the paper's (arXiv 1905.09263). Kernels 9 and 1 make the block of FastSpeech 2."""

    mel: MelConfig = field(default_factory=MelConfig)
    d_model: int = 384
    n_heads: int = 2
    encoder_layers: int = 6
    """blocks over phonemes"""
    decoder_layers: int = 6
    """blocks over mel frames"""
    d_ff: int = 1536
    """filters of the first convolution of each block"""
    kernels: tuple[int, int] = (3, 3)
    """widths of the two convolutions of each block, both odd"""
    dropout: float = 0.1
    predictor_filters: int = 256
    predictor_dropout: float = 0.1
    pitch: bool = False
    """predict a pitch per phoneme, which pitch_scale then moves"""
    energy: bool = False
    """predict an energy per phoneme, which energy_scale then moves"""
    n_speakers: int = 1
    """above 1: an embedding of the speaker is added after the encoder"""
    n_languages: int = 1
    """above 1: an embedding of the language is added after the encoder"""

    def __post_init__(self) -> None:
        above_zero("model", self, "encoder_layers", "decoder_layers", "n_speakers", "n_languages")
        first, second = self.kernels
        self.kernels = first, second  # json has lists only
        for kernel in self.kernels:
            if kernel < 1 or kernel % 2 == 0:
                raise SpeechError(f"model.kernels has {kernel}, which has no centre: set odd ones")

    @property
    def controls(self) -> list[str]:
        """Scales of a `Manner` that the voice obeys."""
        predicted = {"pitch_scale": self.pitch, "energy_scale": self.energy}
        return ["length_scale", "pause_scale", *(name for name, there in predicted.items() if there)]


@dataclass
class AlignerConfig:
    """Phonemes to mel frames without a teacher (arXiv 2108.10447)."""

    d_embed: int = 128
    text_filters: int = 256
    mel_filters: int = 160
    d_attention: int = 80
    temperature: float = 0.0005
    """what a squared distance of 1 costs, in nats"""
