"""NeMo archives: a tar with settings, weights and tokenizers, read by name in memory; the encoder of their models."""

import io
import math
import tarfile
from pathlib import Path
from typing import Literal

import yaml
from torch import Tensor

from speech.errors import SpeechError, one_line
from speech.importers.names import load_pickle, tensors
from speech.importers.settings import FIXED, MAX_COUNT, MAX_HZ, MAX_WINDOW_SECONDS, Settings
from speech.nn.config import EncoderConfig, FrontendConfig

CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"
MAX_MEMBERS, MAX_CONFIG_BYTES = 1000, 16 * 2**20
NORMS: dict[str, Literal["batch", "layer"]] = {"batch_norm": "batch", "layer_norm": "layer"}


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
            return file.read() if file is not None else b""
        except (OSError, EOFError, tarfile.TarError) as error:
            raise SpeechError(f"{self.path}: {name} is cut off ({one_line(error)})") from None

    def config(self, name: str = CONFIG) -> Settings:
        try:
            values = yaml.safe_load(self.read(name, MAX_CONFIG_BYTES))
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            raise SpeechError(f"{self.path}: {name} is not plain YAML ({one_line(error)})") from None
        if not isinstance(values, dict):
            raise SpeechError(f"{self.path}: {name} is not a mapping")
        return Settings(values, f"{self.path}: {name}")

    def weights(self, name: str = WEIGHTS) -> dict[str, Tensor]:
        what = f"{self.path}: {name}"
        return tensors(load_pickle(io.BytesIO(self.read(name)), what), what)


def acoustic_config(config: Settings) -> tuple[FrontendConfig, EncoderConfig]:
    """Settings of the features and of the FastConformer (arXiv 2305.05084).

    SpeechError names a value that ours cannot do.
    """
    config.check(FIXED["nemo"])
    config.demand("encoder.subsampling", "dw_striding")
    config.demand("encoder.subsampling_factor", 8)
    rate = config.size("preprocessor.sample_rate", MAX_HZ)
    limits = dict(low=0.001, high=MAX_WINDOW_SECONDS)
    win, hop = (1000 * config.number(f"preprocessor.window_{name}", **limits) for name in ("size", "stride"))
    n_fft = 1 << max(0, round(rate * win / 1000) - 1).bit_length()
    config.check({"preprocessor.n_fft": (n_fft, None), "preprocessor.highfreq": (None, rate / 2)})
    frontend = FrontendConfig("mel", rate, config.size("preprocessor.features", MAX_COUNT), win, hop, norm="utterance")
    d, bias = config.size("encoder.d_model"), config.flag("encoder.use_bias", True)
    encoder = EncoderConfig(
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
    return frontend, encoder


def scale_input(weights: dict[str, Tensor], config: Settings, flag: str, d_model: int) -> None:
    """By sqrt(d_model) where the flag says so or is absent: in the linear layer before the encoder, by our names."""
    if config.flag(flag, True):
        for name in ("encoder.subsampling.out.weight", "encoder.subsampling.out.bias"):
            if name in weights:
                weights[name] = weights[name] * math.sqrt(d_model)
