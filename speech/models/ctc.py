"""Conformer with a CTC head: the aligner that stands beside a recogniser without one."""

from dataclasses import dataclass, field

from torch import Tensor, nn

from speech.models.aed import init_weights
from speech.models.conformer import Conformer
from speech.nn.config import EncoderConfig, FrontendConfig
from speech.nn.frontend import Frontend


@dataclass
class CTCConfig:
    """The aligner."""

    frontend: FrontendConfig = field(default_factory=FrontendConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)


class CTCModel(nn.Module):
    """Waveforms to log-probabilities of tokens by frame (Graves et al. 2006). The blank is the last id, as in NeMo."""

    def __init__(self, config: CTCConfig, vocab_size: int):
        super().__init__()
        self.config, self.vocab_size, self.blank_id = config, vocab_size, vocab_size
        self.frontend = Frontend(config.frontend)
        self.encoder = Conformer(config.encoder, config.frontend.n_mels)
        self.head = nn.Linear(config.encoder.d_model, vocab_size + 1)
        init_weights(self)

    @property
    def frame_seconds(self) -> float:
        return self.encoder.subsampling.factor * self.config.frontend.hop_ms / 1000

    def log_probs(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """[B, samples] in [-1, 1] at the front end's rate, [B] -> [B, T, V+1] float32, valid frames [B]."""
        encoded, frames = self.encoder(*self.frontend(waveforms, lengths))
        return self.head(encoded).float().log_softmax(-1), frames
