"""NeMo archives: a tar with settings, weights and tokenizers, read by name in memory; the encoder of their models."""

import io
import math
import pickle
import tarfile
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from torch import Tensor

from speech.errors import SpeechError, one_line
from speech.importers.settings import MAX_COUNT, MAX_HZ, MAX_WINDOW_SECONDS, Settings
from speech.nn.config import EncoderConfig, FrontendConfig

CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"
MAX_MEMBERS, MAX_CONFIG_BYTES = 1000, 16 * 2**20
LAYER = r"encoder\.layers\.(\d+)\."
OURS = r"encoder.blocks.\1."
ENCODER_RULES = [
    (r"encoder\.pre_encode\.out\.(\w+)", r"encoder.subsampling.out.\1"),
    (r"encoder\.pre_encode\.conv\.0\.(\w+)", r"encoder.subsampling.conv0.\1"),
    (r"encoder\.pre_encode\.conv\.2\.(\w+)", r"encoder.subsampling.depthwise.0.\1"),
    (r"encoder\.pre_encode\.conv\.3\.(\w+)", r"encoder.subsampling.pointwise.0.\1"),
    (r"encoder\.pre_encode\.conv\.5\.(\w+)", r"encoder.subsampling.depthwise.1.\1"),
    (r"encoder\.pre_encode\.conv\.6\.(\w+)", r"encoder.subsampling.pointwise.1.\1"),
    (LAYER + r"norm_feed_forward(\d)\.(\w+)", OURS + r"ff\2.norm.\3"),
    (LAYER + r"feed_forward(\d)\.linear1\.(\w+)", OURS + r"ff\2.inner.\3"),
    (LAYER + r"feed_forward(\d)\.linear2\.(\w+)", OURS + r"ff\2.outer.\3"),
    (LAYER + r"norm_self_att\.(\w+)", OURS + r"attn_norm.\2"),
    (LAYER + r"self_attn\.pos_bias_u", OURS + r"attn.u"),
    (LAYER + r"self_attn\.pos_bias_v", OURS + r"attn.v_pos"),
    (LAYER + r"self_attn\.linear_(q|k|v|out|pos)\.(\w+)", OURS + r"attn.\2.\3"),
    (LAYER + r"norm_conv\.(\w+)", OURS + r"conv.norm_in.\2"),
    (LAYER + r"conv\.batch_norm\.(\w+)", OURS + r"conv.norm.\2"),
    (LAYER + r"conv\.pointwise_conv(\d)\.(\w+)", OURS + r"conv.pointwise\2.\3"),
    (LAYER + r"conv\.depthwise_conv\.(\w+)", OURS + r"conv.depthwise.\2"),
    (LAYER + r"norm_out\.(\w+)", OURS + r"norm.\2"),
]
ENCODER_DROPPED = [r"preprocessor\.featurizer\.(window|fb)"]
NORMS: dict[str, Literal["batch", "layer"]] = {"batch_norm": "batch", "layer_norm": "layer"}
FLAG = {True: True, False: False}
FIXED: dict[str, tuple[Any, ...]] = {
    "preprocessor.normalize": ("per_feature",),
    "preprocessor.window": ("hann",),
    "preprocessor.frame_splicing": (1,),
    "preprocessor.log": (True,),
    "preprocessor.preemph": (0.97,),
    "preprocessor.mag_power": (2.0,),
    "preprocessor.mel_norm": ("slaney",),
    "preprocessor.log_zero_guard_type": ("add",),
    "preprocessor.log_zero_guard_value": (2**-24, "2**-24"),
    "preprocessor.lowfreq": (0,),
    "preprocessor.exact_pad": (False,),
    "encoder.causal_downsampling": (False,),
    "encoder.reduction": (None,),
    "encoder.self_attention_model": ("rel_pos",),
    "encoder.att_context_size": (None, [-1, -1]),
    "encoder.att_context_style": ("regular",),
    "encoder.untie_biases": (True,),
    "encoder.conv_context_size": (None,),
    "encoder.feat_out": (-1,),
}


class Archive:
    """Members of a .nemo by their bare names. Nothing is extracted; links and doubled names are refused."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self.tar = tarfile.open(path, "r:*")  # noqa: SIM115 - lives as long as the archive
            self.members: dict[str, tarfile.TarInfo] = {}
            for count, member in enumerate(self.tar, start=1):
                if count > MAX_MEMBERS:
                    raise SpeechError(f"{path}: more than {MAX_MEMBERS} members")
                self._take(member)
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise SpeechError(f"{path}: not a whole .nemo archive ({one_line(error)})") from None
        except OSError as error:
            raise SpeechError(f"{path}: cannot be read ({error.strerror or one_line(error)})") from None

    def _take(self, member: tarfile.TarInfo) -> None:
        name = member.name.removeprefix("./")
        if member.isdir():
            return
        if not member.isreg() or member.sparse is not None or "/" in name or name in ("", ".", ".."):
            raise SpeechError(f"{self.path}: the member {member.name!r} is not a plain file beside the others")
        if name in self.members:
            raise SpeechError(f"{self.path}: the member {name!r} comes twice")
        self.members[name] = member

    def read(self, name: str, limit: int | None = None) -> bytes:
        """SpeechError for a member that is missing, cut off or larger than `limit` bytes."""
        name = name.removeprefix("nemo:").removeprefix("./")
        member = self.members.get(name)
        if member is None:
            raise SpeechError(f"{self.path}: no member {name!r} among {', '.join(sorted(self.members))}")
        if limit is not None and member.size > limit:
            raise SpeechError(f"{self.path}: {name} has {member.size} bytes, the limit is {limit}")
        try:
            file = self.tar.extractfile(member)
            data = file.read() if file is not None else b""
        except (OSError, EOFError, tarfile.TarError) as error:
            raise SpeechError(f"{self.path}: {name} is cut off ({one_line(error)})") from None
        if len(data) != member.size:
            raise SpeechError(f"{self.path}: {name} is cut off after {len(data)} of {member.size} bytes")
        return data

    def config(self, name: str = CONFIG) -> Settings:
        try:
            values = yaml.safe_load(self.read(name, MAX_CONFIG_BYTES))
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            raise SpeechError(f"{self.path}: {name} is not plain YAML ({one_line(error)})") from None
        if not isinstance(values, dict):
            raise SpeechError(f"{self.path}: {name} is not a mapping")
        return Settings(values, name)

    def weights(self, name: str = WEIGHTS) -> dict[str, Tensor]:
        data = io.BytesIO(self.read(name))
        try:
            weights = torch.load(data, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, ValueError, KeyError, EOFError) as error:
            raise SpeechError(f"{self.path}: {name} holds more than weights ({one_line(error)})") from None
        if not isinstance(weights, dict) or not all(isinstance(w, Tensor) for w in weights.values()):
            raise SpeechError(f"{self.path}: {name} is not a mapping of names to weights")
        return weights


def frontend_config(config: Settings) -> FrontendConfig:
    """Settings of the features. SpeechError names a value that ours cannot do."""
    config.check(FIXED)
    rate = config.size("preprocessor.sample_rate", MAX_HZ)
    limits = dict(low=0.001, high=MAX_WINDOW_SECONDS)
    win, hop = (1000 * config.number(f"preprocessor.window_{name}", **limits) for name in ("size", "stride"))
    n_fft = 1 << max(0, round(rate * win / 1000) - 1).bit_length()
    config.check({"preprocessor.n_fft": (n_fft, None), "preprocessor.highfreq": (None, rate / 2)})
    return FrontendConfig("mel", rate, config.size("preprocessor.features", MAX_COUNT), win, hop, norm="utterance")


def encoder_config(config: Settings) -> EncoderConfig:
    """Settings of the FastConformer (arXiv 2305.05084). SpeechError names a value that ours cannot do."""
    config.check(FIXED)
    config.demand("encoder.subsampling", "dw_striding")
    config.demand("encoder.subsampling_factor", 8)
    bias = config.choose("encoder.use_bias", FLAG, True)
    d = config.size("encoder.d_model")
    return EncoderConfig(
        d_model=d,
        n_layers=config.size("encoder.n_layers", MAX_COUNT),
        n_heads=config.size("encoder.n_heads"),
        d_ff=d * config.size("encoder.ff_expansion_factor"),
        subsampling="dw8",
        subsampling_channels=config.size("encoder.subsampling_conv_channels"),
        attn_bias=bias,
        ff_bias=bias,
        conv_bias=bias,
        conv_kernel=config.size("encoder.conv_kernel_size"),
        conv_norm=config.choose("encoder.conv_norm_type", NORMS, "batch_norm"),
        dropout=config.number("encoder.dropout", 0.1),
        attn_dropout=config.number("encoder.dropout_att", 0.0),
    )


def scale_input(weights: dict[str, Tensor], factor: float) -> None:
    """A scale of the encoder's input enters, by our names, into the linear layer in front of it."""
    for name in ("encoder.subsampling.out.weight", "encoder.subsampling.out.bias"):
        if name in weights:
            weights[name] = weights[name] * factor


def input_scale(config: Settings) -> float:
    """sqrt(d_model), or 1 without NeMo's `xscaling`."""
    return math.sqrt(config.size("encoder.d_model")) if config.choose("encoder.xscaling", FLAG, True) else 1.0
