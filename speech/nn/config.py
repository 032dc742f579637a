"""Model settings, apart from the classes they build: the command line reads them without importing torch.

The options are the differences between Canary and FireRedASR-AED, so that a preset is a YAML file and not a subclass.
"""

from dataclasses import dataclass, field
from typing import Literal

from speech.nn.stored import Stored


@dataclass
class FrontendConfig:
    """Waveform to features."""

    kind: Literal["kaldi", "mel"] = "mel"
    """kaldi: fbank with povey window and snipped edges; mel: centred slaney log-mel"""
    sample_rate: int = 16000
    n_mels: int = 80
    win_ms: float = 25.0
    hop_ms: float = 10.0
    wave_scale: float = 1.0
    """32768 for models trained on int16-range samples"""
    preemphasis: float = 0.97
    low_hz: float = 0.0
    high_hz: float = 0.0
    """0 means half the sample rate"""
    norm: Literal["global", "utterance", "none"] = "global"


@dataclass
class EncoderConfig:
    """Conformer."""

    d_model: int = 256
    n_layers: int = 12
    n_heads: int = 4
    d_ff: int = 1024
    subsampling: Literal["conv4", "dw8"] = "conv4"
    """conv4: two full 2D convolutions, x4 in time; dw8: depthwise-separable, x8"""
    subsampling_channels: int = 64
    length_rule: Literal["ceil", "trt"] = "ceil"
    """valid frames of conv4: ceil(L / 4), or one to two fewer as FireRedASR's code since December 2025"""
    qkv_norm: bool = False
    """separate layer norms before the query, key and value projections"""
    attn_bias: bool = True
    ff_bias: bool = True
    conv_mult: int = 1
    conv_kernel: int = 15
    conv_norm: Literal["layer", "batch"] = "layer"
    conv_bias: bool = True
    dropout: float = 0.1
    attn_dropout: float = 0.0


@dataclass
class DecoderConfig:
    """Transformer decoder."""

    d_model: int = 256
    n_layers: int = 6
    n_heads: int = 4
    d_ff: int = 1024
    act: Literal["gelu", "relu"] = "relu"
    embed_scale: bool = False
    """multiply token embeddings by sqrt(d_model)"""
    pos_scale: bool = True
    """divide the sinusoid by sqrt(d_model)"""
    embed_norm: bool = True
    key_bias: bool = True
    head_bias: bool = True
    tied: bool = True
    """the output projection is the embedding"""
    vocab_pad: int = 1
    """round the output width up to a multiple of this"""
    max_tokens: int = 512
    """longest sequence including the prompt"""
    dropout: float = 0.1
    attn_dropout: float = 0.0


@dataclass
class AEDConfig(Stored):
    """The recogniser."""

    frontend: FrontendConfig = field(default_factory=FrontendConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    ctc: bool = True
    """add a CTC head on the encoder"""
