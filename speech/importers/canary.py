"""NeMo Canary archives: a tar with model_config.yaml, model_weights.ckpt and tokenizers, read by name in memory."""

import io
import pickle
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from torch import Tensor

from speech.errors import SpeechError, one_line
from speech.generation import GenerationConfig
from speech.importers.names import fill, rename
from speech.models.aed import AED
from speech.nn.config import AEDConfig, DecoderConfig, EncoderConfig, FrontendConfig
from speech.text.base import BaseTokenizer
from speech.text.canary import AggregateTokenizer, UnifiedTokenizer
from speech.text.prompt import FORMATS

MAX_MEMBERS, MAX_CONFIG_BYTES = 1000, 16 * 2**20
LAYER = r"encoder\.layers\.(\d+)\."
OURS = r"encoder.blocks.\1."
DECODER = r"transf_decoder\._decoder\."
EMBEDDING = r"transf_decoder\._embedding\."
RULES = [
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
    (r"encoder_decoder_proj\.(\w+)", r"enc_proj.\1"),
    (EMBEDDING + r"token_embedding\.weight", r"decoder.embed.weight"),
    (EMBEDDING + r"layer_norm\.(\w+)", r"decoder.embed_norm.\1"),
    (DECODER + r"final_layer_norm\.(\w+)", r"decoder.norm.\1"),
    (DECODER + r"layers\.(\d+)\.layer_norm_1\.(\w+)", r"decoder.layers.\1.self_norm.\2"),
    (DECODER + r"layers\.(\d+)\.layer_norm_2\.(\w+)", r"decoder.layers.\1.cross_norm.\2"),
    (DECODER + r"layers\.(\d+)\.layer_norm_3\.(\w+)", r"decoder.layers.\1.ff.norm.\2"),
    (DECODER + r"layers\.(\d+)\.first_sub_layer\.(q|k|v)\w+_net\.(\w+)", r"decoder.layers.\1.attn.\2.\3"),
    (DECODER + r"layers\.(\d+)\.second_sub_layer\.(q|k|v)\w+_net\.(\w+)", r"decoder.layers.\1.cross.\2.\3"),
    (DECODER + r"layers\.(\d+)\.first_sub_layer\.out_projection\.(\w+)", r"decoder.layers.\1.attn.out.\2"),
    (DECODER + r"layers\.(\d+)\.second_sub_layer\.out_projection\.(\w+)", r"decoder.layers.\1.cross.out.\2"),
    (DECODER + r"layers\.(\d+)\.third_sub_layer\.dense_in\.(\w+)", r"decoder.layers.\1.ff.inner.\2"),
    (DECODER + r"layers\.(\d+)\.third_sub_layer\.dense_out\.(\w+)", r"decoder.layers.\1.ff.outer.\2"),
    (r"log_softmax\.mlp\.layer0\.weight", r"decoder.head.weight"),
    (r"log_softmax\.mlp\.layer0\.bias", r"decoder.head_bias"),
]
DROPPED = [r"preprocessor\.featurizer\.(window|fb)", EMBEDDING + r"position_embedding\.pos_enc"]
NORMS: dict[Any, Literal["batch", "layer"]] = {"batch_norm": "batch", "layer_norm": "layer"}
ACTS: dict[Any, Literal["relu", "gelu"]] = {"relu": "relu", "gelu": "gelu"}
# what ours does and has no option for: another value is refused, an absent one is NeMo's default
FIXED: dict[str, tuple[Any, ...]] = {
    "preprocessor.normalize": ("per_feature",),
    "preprocessor.window": ("hann",),
    "preprocessor.frame_splicing": (1,),
    "preprocessor.pad_to": (0,),
    "preprocessor.log": (True,),
    "encoder.subsampling": ("dw_striding",),
    "encoder.subsampling_factor": (8,),
    "encoder.causal_downsampling": (False,),
    "encoder.reduction": (None,),
    "encoder.self_attention_model": ("rel_pos",),
    "encoder.att_context_size": ([-1, -1], None),
    "encoder.xscaling": (False,),
    "encoder.untie_biases": (True,),
    "encoder.conv_context_size": (None,),
    "encoder.feat_out": (-1,),
    "transf_encoder.num_layers": (0,),
    "transf_decoder.config_dict.pre_ln": (True,),
    "transf_decoder.config_dict.learn_positional_encodings": (False,),
    "transf_decoder.config_dict.num_token_types": (0,),
    "transf_decoder.pre_ln_final_layer_norm": (True,),
    "head.num_layers": (1,),
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

    def config(self) -> dict[str, Any]:
        try:
            values = yaml.safe_load(self.read("model_config.yaml", MAX_CONFIG_BYTES))
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            raise SpeechError(f"{self.path}: model_config.yaml is not plain YAML ({one_line(error)})") from None
        if not isinstance(values, dict):
            raise SpeechError(f"{self.path}: model_config.yaml is not a mapping")
        return values

    def weights(self) -> dict[str, Tensor]:
        data = io.BytesIO(self.read("model_weights.ckpt"))
        try:
            weights = torch.load(data, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, ValueError, KeyError, EOFError) as error:
            raise SpeechError(f"{self.path}: model_weights.ckpt holds more than weights ({one_line(error)})") from None
        if not isinstance(weights, dict) or not all(isinstance(w, Tensor) for w in weights.values()):
            raise SpeechError(f"{self.path}: model_weights.ckpt is not a mapping of names to weights")
        return weights


def _get(config: Mapping[str, Any], dotted: str, default: Any = None) -> Any:
    node: Any = config
    for key in dotted.split("."):
        if not isinstance(node, Mapping) or key not in node:
            return default
        node = node[key]
    return node


def _need(config: Mapping[str, Any], dotted: str, kind: type | tuple[type, ...] = int) -> Any:
    value = _get(config, dotted)
    if not isinstance(value, kind) or isinstance(value, bool) and kind is int:
        raise SpeechError(f"model_config.yaml: {dotted} is {value!r}")
    return value


def model_config(config: Mapping[str, Any], tied: bool) -> AEDConfig:
    """Settings of the family as the archive has them. SpeechError names a value that ours cannot do."""
    for dotted, values in FIXED.items():
        value = _get(config, dotted, values[0])
        if value not in values:
            raise SpeechError(f"model_config.yaml: {dotted} {value!r} is not known here, only {values[0]!r}")
    rate = _need(config, "preprocessor.sample_rate")
    win, hop = (1000 * _need(config, f"preprocessor.window_{name}", (int, float)) for name in ("size", "stride"))
    encoder, decoder = "encoder.", "transf_decoder.config_dict."
    norm = NORMS.get(_get(config, encoder + "conv_norm_type", "batch_norm"))
    act = ACTS.get(_get(config, decoder + "hidden_act", "relu"))
    if norm is None or act is None:
        wrong = "encoder.conv_norm_type" if norm is None else decoder + "hidden_act"
        raise SpeechError(f"model_config.yaml: {wrong} {_get(config, wrong)!r} is not known here")
    bias = _get(config, encoder + "use_bias", True)
    d = _need(config, encoder + "d_model")
    return AEDConfig(
        frontend=FrontendConfig("mel", rate, _need(config, "preprocessor.features"), win, hop, norm="utterance"),
        encoder=EncoderConfig(
            d_model=d,
            n_layers=_need(config, encoder + "n_layers"),
            n_heads=_need(config, encoder + "n_heads"),
            d_ff=d * _need(config, encoder + "ff_expansion_factor"),
            subsampling="dw8",
            subsampling_channels=_need(config, encoder + "subsampling_conv_channels"),
            attn_bias=bias,
            ff_bias=bias,
            conv_bias=bias,
            conv_kernel=_need(config, encoder + "conv_kernel_size"),
            conv_norm=norm,
            dropout=float(_get(config, encoder + "dropout", 0.1)),
            attn_dropout=float(_get(config, encoder + "dropout_att", 0.0)),
        ),
        decoder=DecoderConfig(
            d_model=_need(config, decoder + "hidden_size"),
            n_layers=_need(config, decoder + "num_layers"),
            n_heads=_need(config, decoder + "num_attention_heads"),
            d_ff=_need(config, decoder + "inner_size"),
            act=act,
            vocab_pad=8,
            tied=tied,
            max_tokens=_need(config, decoder + "max_sequence_length"),
            dropout=float(_get(config, decoder + "ffn_dropout", 0.1)),
            attn_dropout=float(_get(config, decoder + "attn_score_dropout", 0.0)),
        ),
        ctc=False,
    )


def read_tokenizer(archive: Archive, config: Mapping[str, Any]) -> BaseTokenizer:
    """Aggregate of `tokenizer.langs`, in their order, or the one model of all languages."""
    languages = _get(config, "tokenizer.langs")
    if isinstance(languages, Mapping):
        files = {str(name): _need(config, f"tokenizer.langs.{name}.model_path", str) for name in languages}
        return AggregateTokenizer({name: archive.read(file, MAX_CONFIG_BYTES) for name, file in files.items()})
    return UnifiedTokenizer(archive.read(_need(config, "tokenizer.model_path", str), MAX_CONFIG_BYTES))


def read_generation(config: Mapping[str, Any]) -> GenerationConfig:
    """Canary's own search: the length counts the prompt, ended hypotheses stay in the beam."""
    format = _get(config, "prompt_format", "canary")
    if format not in FORMATS:
        raise SpeechError(f"model_config.yaml: prompt_format {format!r} is not one of {', '.join(FORMATS)}")
    beam = "decoding.beam."
    return GenerationConfig(
        beam_size=int(_get(config, beam + "beam_size", 1)),
        length_penalty=float(_get(config, beam + "len_pen", 0.0)),
        max_tokens_per_second=12.5,  # one a frame of the encoder
        extra_tokens=max(0, int(_get(config, beam + "max_generation_delta", 50))),
        max_seconds=40.0,
        min_seconds=1.0,
        punctuation=True,
        prompt_format=format,
        ended_stay=True,
        rank_normalised=True,
        count_prompt=True,
    )


def read(path: Path) -> tuple[AED, BaseTokenizer, GenerationConfig]:
    """Model, tokenizer and search settings of a .nemo archive."""
    archive = Archive(path)
    config = archive.config()
    tokenizer = read_tokenizer(archive, config)
    return _read_model(archive, config, tokenizer.size), tokenizer, read_generation(config)


def _read_model(archive: Archive, config: Mapping[str, Any], vocab_size: int) -> AED:
    """On the CPU in eval mode. Head and embedding are one only if they are equal."""
    weights, path = archive.weights(), archive.path
    classes = _need(config, "head.num_classes")
    if classes != -(-vocab_size // 8) * 8:
        raise SpeechError(f"{path}: the head has {classes} classes, the tokenizer {vocab_size}")
    renamed = rename(weights, RULES, DROPPED)
    head, embed = (renamed.get(f"decoder.{name}.weight") for name in ("head", "embed"))
    if head is None or embed is None:
        raise SpeechError(f"{path}: the weights of the embedding or of the head are missing")
    tied = torch.equal(head, embed)
    if tied:
        del renamed["decoder.head.weight"]
    settings = model_config(config, tied)
    with torch.device("meta"):
        model = AED(settings, vocab_size)
    model.frontend = type(model.frontend)(settings.frontend)
    statistics = {"frontend.mean": model.frontend.mean, "frontend.inv_std": model.frontend.inv_std}
    fill(model, {**renamed, **statistics}, str(path))
    return model.eval()
