"""Canary as transformers has it since 5.23 (models/canary): config.json, safetensors, a tokenizer.json.

Its conversion from NeMo sorts the channels of the decoder into those of even and those of odd places, so that the
sinusoid has all sines before all cosines. The import puts them back: ours interleaves, as NeMo does.
"""

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from speech.errors import SpeechError, one_line
from speech.generation import GenerationConfig
from speech.importers.canary import ACTS, search_settings
from speech.importers.names import assemble, rename
from speech.importers.nemo import FLAG, scale_input
from speech.importers.settings import MAX_COUNT, MAX_HZ, MAX_WINDOW_SECONDS, Settings
from speech.importers.tokenizer_json import sentencepiece_model
from speech.models.aed import AED
from speech.nn.config import AEDConfig, DecoderConfig, EncoderConfig, FrontendConfig
from speech.text.canary import CONTEXT, UnifiedTokenizer
from speech.text.spe import read_part

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
FILES = ["config.json", "processor_config.json", "tokenizer.json", INDEX, "model*.safetensors"]
LAYER = r"model\.encoder\.layers\.(\d+)\."
OURS = r"encoder.blocks.\1."
DECODER = r"model\.decoder\.layers\.(\d+)\."
RULES = [
    (r"model\.encoder\.subsampling\.linear\.(\w+)", r"encoder.subsampling.out.\1"),
    (r"model\.encoder\.subsampling\.layers\.0\.(\w+)", r"encoder.subsampling.conv0.\1"),
    (r"model\.encoder\.subsampling\.layers\.2\.(\w+)", r"encoder.subsampling.depthwise.0.\1"),
    (r"model\.encoder\.subsampling\.layers\.3\.(\w+)", r"encoder.subsampling.pointwise.0.\1"),
    (r"model\.encoder\.subsampling\.layers\.5\.(\w+)", r"encoder.subsampling.depthwise.1.\1"),
    (r"model\.encoder\.subsampling\.layers\.6\.(\w+)", r"encoder.subsampling.pointwise.1.\1"),
    (LAYER + r"norm_feed_forward(\d)\.(\w+)", OURS + r"ff\2.norm.\3"),
    (LAYER + r"feed_forward(\d)\.linear1\.(\w+)", OURS + r"ff\2.inner.\3"),
    (LAYER + r"feed_forward(\d)\.linear2\.(\w+)", OURS + r"ff\2.outer.\3"),
    (LAYER + r"norm_self_att\.(\w+)", OURS + r"attn_norm.\2"),
    (LAYER + r"self_attn\.bias_u", OURS + r"attn.u"),
    (LAYER + r"self_attn\.bias_v", OURS + r"attn.v_pos"),
    (LAYER + r"self_attn\.(q|k|v)_proj\.(\w+)", OURS + r"attn.\2.\3"),
    (LAYER + r"self_attn\.o_proj\.(\w+)", OURS + r"attn.out.\2"),
    (LAYER + r"self_attn\.relative_k_proj\.(\w+)", OURS + r"attn.pos.\2"),
    (LAYER + r"norm_conv\.(\w+)", OURS + r"conv.norm_in.\2"),
    (LAYER + r"conv\.norm\.(\w+)", OURS + r"conv.norm.\2"),
    (LAYER + r"conv\.pointwise_conv(\d)\.(\w+)", OURS + r"conv.pointwise\2.\3"),
    (LAYER + r"conv\.depthwise_conv\.(\w+)", OURS + r"conv.depthwise.\2"),
    (LAYER + r"norm_out\.(\w+)", OURS + r"norm.\2"),
    (r"model\.decoder\.embed_tokens\.weight", r"decoder.embed.weight"),
    (r"model\.decoder\.embedding_layernorm\.(\w+)", r"decoder.embed_norm.\1"),
    (r"model\.decoder\.norm\.(\w+)", r"decoder.norm.\1"),
    (DECODER + r"input_layernorm\.(\w+)", r"decoder.layers.\1.self_norm.\2"),
    (DECODER + r"post_attention_layernorm\.(\w+)", r"decoder.layers.\1.cross_norm.\2"),
    (DECODER + r"final_layernorm\.(\w+)", r"decoder.layers.\1.ff.norm.\2"),
    (DECODER + r"self_attn\.(q|k|v)_proj\.(\w+)", r"decoder.layers.\1.attn.\2.\3"),
    (DECODER + r"self_attn\.o_proj\.(\w+)", r"decoder.layers.\1.attn.out.\2"),
    (DECODER + r"encoder_attn\.(q|k|v)_proj\.(\w+)", r"decoder.layers.\1.cross.\2.\3"),
    (DECODER + r"encoder_attn\.o_proj\.(\w+)", r"decoder.layers.\1.cross.out.\2"),
    (DECODER + r"mlp\.fc1\.(\w+)", r"decoder.layers.\1.ff.inner.\2"),
    (DECODER + r"mlp\.fc2\.(\w+)", r"decoder.layers.\1.ff.outer.\2"),
    (r"proj_out\.weight", r"decoder.head.weight"),
    (r"proj_out\.bias", r"decoder.head_bias"),
]
# weights whose columns, and weights and biases whose rows, are the channels that the sinusoid is added to
COLUMNS = ("embed.weight", "head.weight", "attn.q.weight", "attn.k.weight", "attn.v.weight", "cross.q.weight")
COLUMNS += ("ff.inner.weight",)
ROWS = ("norm.weight", "norm.bias", "out.weight", "out.bias", "outer.weight", "outer.bias")
FIXED: dict[str, tuple[Any, ...]] = {
    "encoder_config.model_type": ("parakeet_encoder",),
    "encoder_config.hidden_act": ("silu",),
    "encoder_config.subsampling_factor": (8,),
    "encoder_config.subsampling_conv_kernel_size": (3,),
    "encoder_config.subsampling_conv_stride": (2,),
    "decoder_config.model_type": ("canary_decoder",),
    "decoder_config.attention_bias": (True,),
}


def _json(folder: Path, name: str) -> dict[str, Any]:
    try:
        values = json.loads(read_part(folder, name))
    except (ValueError, RecursionError):
        raise SpeechError(f"{folder}: {name}: not JSON") from None
    except SpeechError as error:
        raise SpeechError(f"{folder}: {error}") from None
    if not isinstance(values, dict):
        raise SpeechError(f"{folder}: {name}: not a JSON object")
    return values


def _load(folder: Path, name: str) -> dict[str, Tensor]:
    if Path(name).name != name:
        raise SpeechError(f"{folder}: {INDEX} names {name[:60]!r}, which is no file beside it")
    try:
        return load_file(folder / name)
    except FileNotFoundError:
        raise SpeechError(f"{folder}: {name} is missing") from None
    except (SafetensorError, OSError) as error:
        raise SpeechError(f"{folder}: {name} is not a whole safetensors file ({one_line(error)})") from None


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Of one file or of several that an index lists, in float32."""
    names = [WEIGHTS]
    if (folder / INDEX).exists():
        files = _json(folder, INDEX).get("weight_map")
        if not isinstance(files, dict) or not all(isinstance(name, str) for name in files.values()):
            raise SpeechError(f"{folder}: {INDEX} has no weight_map of file names")
        names = sorted(set(files.values()))
    weights: dict[str, Tensor] = {}
    for name in names:
        weights |= {key: x.float() if x.is_floating_point() else x for key, x in _load(folder, name).items()}
    return weights


def frontend_config(processor: Settings) -> FrontendConfig:
    features = "feature_extractor."
    processor.check({features + "feature_extractor_type": ("ParakeetFeatureExtractor",)})
    rate = processor.size(features + "sampling_rate", MAX_HZ)
    win, hop = (
        processor.size(features + name, round(MAX_WINDOW_SECONDS * rate)) for name in ("win_length", "hop_length")
    )
    processor.check({features + "preemphasis": (0.97,), features + "n_fft": (1 << (win - 1).bit_length(),)})
    n_mels = processor.size(features + "feature_size", MAX_COUNT)
    return FrontendConfig("mel", rate, n_mels, 1000 * win / rate, 1000 * hop / rate, norm="utterance")


def model_config(config: Settings, processor: Settings, tied: bool) -> AEDConfig:
    """SpeechError names a value that ours cannot do."""
    config.demand("model_type", "canary")
    config.check(FIXED)
    encoder, decoder = "encoder_config.", "decoder_config."
    d, heads = config.size(decoder + "hidden_size"), config.size(decoder + "num_attention_heads")
    config.check({decoder + "num_key_value_heads": (heads,), decoder + "head_dim": (d // heads,)})
    bias = config.choose(encoder + "attention_bias", FLAG, True)
    return AEDConfig(
        frontend=frontend_config(processor),
        encoder=EncoderConfig(
            d_model=config.size(encoder + "hidden_size"),
            n_layers=config.size(encoder + "num_hidden_layers", MAX_COUNT),
            n_heads=config.size(encoder + "num_attention_heads"),
            d_ff=config.size(encoder + "intermediate_size"),
            subsampling="dw8",
            subsampling_channels=config.size(encoder + "subsampling_conv_channels"),
            attn_bias=bias,
            ff_bias=bias,
            conv_bias=config.choose(encoder + "convolution_bias", FLAG, True),
            conv_kernel=config.size(encoder + "conv_kernel_size"),
            conv_norm="batch",
            dropout=config.number(encoder + "dropout", 0.1),
            attn_dropout=config.number(encoder + "attention_dropout", 0.1),
        ),
        decoder=DecoderConfig(
            d_model=d,
            n_layers=config.size(decoder + "num_hidden_layers", MAX_COUNT),
            n_heads=heads,
            d_ff=config.size(decoder + "intermediate_size"),
            act=config.choose(decoder + "hidden_act", ACTS, "relu"),
            vocab_pad=8,
            tied=tied,
            max_tokens=config.size(decoder + "max_position_embeddings"),
            attn_dropout=config.number(decoder + "attention_dropout", 0.0),
        ),
        ctc=False,
    )


def interleave(weights: dict[str, Tensor], width: int) -> None:
    """The decoder's channels 0, d/2, 1, d/2 + 1 ... of every weight that reads or writes them."""
    order = torch.arange(width).view(2, -1).T.flatten()
    for name, tensor in weights.items():
        if not name.startswith("decoder.") or not name.endswith((*COLUMNS, *ROWS)):
            continue
        axis = 1 if name.endswith(COLUMNS) else 0
        if tensor.ndim > axis and tensor.size(axis) == width:  # a wrong shape is named later
            weights[name] = tensor.index_select(axis, order)


def read(folder: Path) -> tuple[AED, UnifiedTokenizer, GenerationConfig]:
    """Model, tokenizer and search settings."""
    config = Settings(_json(folder, "config.json"), f"{folder}: config.json")
    processor = Settings(_json(folder, "processor_config.json"), f"{folder}: processor_config.json")
    tokenizer = UnifiedTokenizer(sentencepiece_model(_json(folder, "tokenizer.json"), f"{folder}: tokenizer.json"))
    tokenizer.special(CONTEXT)  # the prompts of this layout are Canary's second ones
    classes, size = config.size("vocab_size"), tokenizer.size
    if classes != -(-size // 8) * 8:
        raise SpeechError(f"{folder}: the head has {classes} classes, the tokenizer {size}")
    weights = rename(read_weights(folder), RULES, [])
    head, embed = weights.get("decoder.head.weight"), weights.get("decoder.embed.weight")
    tied = config.choose("tie_word_embeddings", FLAG, True) and head is None
    if head is not None and embed is not None and torch.equal(head, embed):
        tied = True
        del weights["decoder.head.weight"]
    settings = model_config(config, processor, tied)
    interleave(weights, settings.decoder.d_model)
    if config.choose("encoder_config.scale_input", FLAG, True):
        scale_input(weights, math.sqrt(settings.encoder.d_model))
    return assemble(lambda: AED(settings, size), weights, str(folder)), tokenizer, search_settings("canary2")
