"""Canary as transformers has it since 5.23 (models/canary): config.json, safetensors, a tokenizer.json.

Its conversion from NeMo sorts the channels of the decoder into those of even and those of odd places, so that the
sinusoid has all sines before all cosines. The import puts them back: ours interleaves, as NeMo does.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from speech.errors import SpeechError, one_line
from speech.generation import GenerationConfig
from speech.importers.canary import ACTS, SEARCH, VOCAB_PAD, check_classes, untie
from speech.importers.names import assemble, rename
from speech.importers.nemo import scale_input
from speech.importers.settings import FIXED, MAX_COUNT, MAX_HZ, MAX_WINDOW_SECONDS, Settings
from speech.importers.tokenizer_json import sentencepiece_model
from speech.models.aed import AED
from speech.nn.config import AEDConfig, DecoderConfig, EncoderConfig, FrontendConfig
from speech.text.canary import CONTEXT, UnifiedTokenizer
from speech.text.files import read_object

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
FILES = ["config.json", "processor_config.json", "tokenizer.json", INDEX, "model*.safetensors"]
# weights whose columns, and weights and biases whose rows, are the channels that the sinusoid is added to
COLUMNS = ("embed.weight", "head.weight", "attn.q.weight", "attn.k.weight", "attn.v.weight", "cross.q.weight")
COLUMNS += ("ff.inner.weight",)
ROWS = ("norm.weight", "norm.bias", "out.weight", "out.bias", "outer.weight", "outer.bias")


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Of one file or of several that an index lists, in float32."""
    files: Any = {"": WEIGHTS}
    if (folder / INDEX).exists():
        files = read_object(folder, INDEX).get("weight_map")
        if not isinstance(files, dict) or not all(isinstance(name, str) for name in files.values()):
            raise SpeechError(f"{folder}: {INDEX} has no weight_map of file names")
    weights: dict[str, Tensor] = {}
    for name in sorted(set(files.values())):
        if Path(name).name != name:
            raise SpeechError(f"{folder}: {INDEX} names {name[:60]!r}, which is no file beside it")
        try:
            part = load_file(folder / name)
        except (SafetensorError, OSError) as error:
            raise SpeechError(f"{folder}: {name} is missing or no whole safetensors file ({one_line(error)})") from None
        weights |= {name: x.float() if x.is_floating_point() else x for name, x in part.items()}
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
    config.check(FIXED["transformers"])
    encoder, decoder = "encoder_config.", "decoder_config."
    d, heads = config.size(decoder + "hidden_size"), config.size(decoder + "num_attention_heads")
    config.check({decoder + "num_key_value_heads": (heads,), decoder + "head_dim": (d // heads,)})
    bias = config.flag(encoder + "attention_bias", True)
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
            conv_bias=config.flag(encoder + "convolution_bias", True),
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
            vocab_pad=VOCAB_PAD,
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
    config, processor, words = (
        Settings(read_object(folder, name), f"{folder}: {name}")
        for name in ("config.json", "processor_config.json", "tokenizer.json")
    )
    tokenizer = UnifiedTokenizer(sentencepiece_model(words))
    tokenizer.special(CONTEXT)  # the prompts of this layout are Canary's second ones
    check_classes(config, "vocab_size", tokenizer)
    weights = rename(read_weights(folder), "transformers")
    tied = untie(weights) or config.flag("tie_word_embeddings", True) and "decoder.head.weight" not in weights
    settings = model_config(config, processor, tied)
    interleave(weights, settings.decoder.d_model)
    scale_input(weights, config, "encoder_config.scale_input", settings.encoder.d_model)
    model = assemble(lambda: AED(settings, tokenizer.size), weights, str(folder))
    return model, tokenizer, replace(SEARCH, prompt_format="canary2")
