"""Settings of the mel spectrogram of speech synthesis and of the vocoder that inverts it, without torch."""

from dataclasses import dataclass, field

from speech.errors import SpeechError, above_zero
from speech.nn.stored import Stored


@dataclass
class MelConfig:
    """Waveform to log-mel, defaults as HiFi-GAN's for LJSpeech."""

    sample_rate: int = 22050
    n_fft: int = 1024
    win: int = 1024
    """samples of the window"""
    hop: int = 256
    """samples between frames"""
    n_mels: int = 80
    low_hz: float = 0.0
    high_hz: float = 8000.0
    """0 means half the sample rate"""

    def __post_init__(self) -> None:
        if not 0 < self.hop <= self.win <= self.n_fft:
            raise SpeechError(f"mel: hop {self.hop}, win {self.win}, n_fft {self.n_fft} must be in rising order")
        if (self.n_fft - self.hop) % 2:
            raise SpeechError(f"mel: n_fft {self.n_fft} less hop {self.hop} is odd and has no half for either side")
        if not 0 <= self.low_hz < self.top_hz <= self.sample_rate / 2:
            raise SpeechError(
                f"mel: low_hz {self.low_hz:g} and high_hz {self.high_hz:g} must lie within half of sample_rate "
                f"{self.sample_rate}"
            )

    @property
    def top_hz(self) -> float:
        return self.high_hz if self.high_hz > 0 else self.sample_rate / 2

    @property
    def edge(self) -> int:
        """Samples by which the first frame begins before the waveform and the last one ends after it."""
        return (self.n_fft - self.hop) // 2


@dataclass
class VocosConfig(Stored):
    """Vocos: log-mel to waveform."""

    mel: MelConfig = field(default_factory=MelConfig)
    d_model: int = 256
    n_layers: int = 8
    d_ff: int = 768
    kernel: int = 7
    """frames that a convolution sees"""

    def __post_init__(self) -> None:
        above_zero("model", self, "d_model", "n_layers", "d_ff")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise SpeechError(f"model.kernel {self.kernel} has no centre, set an odd one")
