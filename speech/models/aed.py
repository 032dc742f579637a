"""Attention encoder-decoder recogniser: Canary and FireRedASR-AED are two settings of this class."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from speech.models.conformer import Conformer
from speech.models.decoder import Decoder
from speech.nn.attention import KV, RelativeAttention
from speech.nn.config import AEDConfig
from speech.nn.conv import Conv4, Depthwise8
from speech.nn.frontend import Frontend
from speech.nn.masks import length_mask


class Encoded(NamedTuple):
    encoded: Tensor  # [B, T, C] encoder output
    lengths: Tensor  # [B] valid frames
    memory: list[KV]  # cross keys and values per decoder layer
    mask: Tensor  # [B, 1, 1, T]


class AED(nn.Module):
    """Waveforms to logits; `blank` is the CTC blank and padding id."""

    def __init__(self, config: AEDConfig, vocab_size: int):
        super().__init__()
        self.config, self.vocab_size = config, vocab_size
        self.frontend = Frontend(config.frontend)
        self.encoder = Conformer(config.encoder, config.frontend.n_mels)
        d, d_dec = config.encoder.d_model, config.decoder.d_model
        self.enc_proj = nn.Linear(d, d_dec) if d != d_dec else nn.Identity()
        self.decoder = Decoder(config.decoder, vocab_size)
        self.ctc = nn.Linear(d, vocab_size) if config.ctc else None
        init_weights(self)

    def encode_features(self, features: Tensor, lengths: Tensor) -> Encoded:
        """Normalised features [B, T, F], zero past their lengths."""
        encoded, lengths = self.encoder(features.to(self.decoder.embed.weight.dtype), lengths)
        memory = self.decoder.project_memory(self.enc_proj(encoded))
        return Encoded(encoded, lengths, memory, length_mask(lengths, encoded.size(1)))

    def lower(self, dtype: torch.dtype) -> None:
        """Weights behind the front end in another precision: features of silence need float32."""
        for part in (self.encoder, self.enc_proj, self.decoder, *([self.ctc] if self.ctc is not None else [])):
            part.to(dtype)

    def encode(self, waveforms: Tensor, lengths: Tensor) -> Encoded:
        """[B, samples] in [-1, 1] at the front end's rate."""
        return self.encode_features(*self.frontend(waveforms, lengths))

    def ctc_log_probs(self, encoded: Tensor) -> Tensor:
        """[B, T, C] -> [B, T, V] float32."""
        assert self.ctc is not None
        return self.ctc(encoded).float().log_softmax(-1)


def init_weights(model: nn.Module) -> None:
    """Every kind of parameter in one place.

    Projections keep torch's uniform init, so that residual branches start smaller than their trunk; biases are zero.
    The subsampling keeps the variance of its input: the trunk must carry the signal, or the first blocks drown it.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            if isinstance(module, nn.Conv2d):  # a depthwise one is followed by its pointwise one, not by a ReLU
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu" if module.groups == 1 else "linear")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, Conv4 | Depthwise8):
            nn.init.normal_(module.out.weight, std=module.out.in_features**-0.5)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
        elif isinstance(module, RelativeAttention):
            nn.init.zeros_(module.u)
            nn.init.zeros_(module.v_pos)


def count_parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())
