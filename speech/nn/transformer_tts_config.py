"""Settings of the Transformer TTS, its losses and its generation, without torch. Heads are pairs of layer and head;
negative numbers count from the end."""

from dataclasses import dataclass, field

from speech.errors import SpeechError, above_zero
from speech.nn.mel_config import MelConfig
from speech.nn.stored import Stored

Heads = tuple[tuple[int, int], ...]


@dataclass
class TransformerTTSConfig(Stored):
    """Phonemes to mel, the sizes of arXiv 1809.08895."""

    mel: MelConfig = field(default_factory=MelConfig)
    d_model: int = 512
    n_heads: int = 8
    encoder_layers: int = 6
    decoder_layers: int = 6
    d_ff: int = 2048
    encoder_convs: int = 3
    """convolutions between phoneme embedding and encoder"""
    prenet_width: int = 256
    """bottleneck between a mel frame and the decoder"""
    prenet_dropout: float = 0.5
    """stays on at generation unless its seed is None"""
    postnet_layers: int = 5
    postnet_channels: int = 512
    conv_kernel: int = 5
    conv_dropout: float = 0.5
    """after each convolution of encoder and post-net"""
    dropout: float = 0.1
    reduction: int = 1
    """mel frames per decoder step"""
    n_speakers: int = 1
    pre_norm: bool = True
    """layer norm before each sub-layer; after it as in the paper if false"""

    def __post_init__(self) -> None:
        if self.conv_kernel % 2 == 0:
            raise SpeechError(f"conv_kernel {self.conv_kernel} is even: it has no centre, set an odd one")
        if self.postnet_layers < 2:
            raise SpeechError(f"postnet_layers {self.postnet_layers} is below 2, its first and its last one")
        above_zero("model", self, "reduction", "n_speakers", "encoder_layers", "decoder_layers")


@dataclass(frozen=True)
class TransformerTTSLossConfig:
    stop_positive: float = 5.0
    """weight of the one last step among the others"""
    guided_heads: Heads = ((-1, 0), (-1, 1), (-2, 0), (-2, 1))
    """heads kept near the diagonal"""
    guided_sigma: float = 0.4
    guided_weight: float = 1.0
    guided_focus: tuple[float, float] = (0.6, 0.7)
    """focus rates of the guided heads between which guided_weight falls to 0: guidance spoils what is found"""
    supervised_head: tuple[int, int] = (-2, -1)
    """head that learns the aligner's path"""
    supervised_weight: float = 1.0
    """0 uses the aligner's path to measure agreement only"""


@dataclass(frozen=True)
class GenerateOptions:
    stop_threshold: float = 0.5
    max_times_expected: float = 2.0
    """longest mel, as a multiple of the expected length"""
    seed: int | None = 0
    """of the pre-net's dropout, the same for every sentence; None turns it off"""
    window_heads: Heads = ()
    """cross-attention heads that may only look near the furthest phoneme they have reached"""
    window_back: int = 1
    window_forward: int = 3
    with_attention: bool = False


def resolve_heads(setting: str, heads: Heads, layers: int, n_heads: int) -> Heads:
    """The same heads without negative numbers."""
    for layer, head in heads:
        if not (-layers <= layer < layers and -n_heads <= head < n_heads):
            raise SpeechError(f"{setting} {layer},{head}: the decoder has {layers} layers of {n_heads} heads")
    return tuple((layer % layers, head % n_heads) for layer, head in heads)
