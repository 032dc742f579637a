"""Canary as NeMo has it: an archive with the recogniser, its tokenizers and, in canary-1b-v2, an aligner."""

from pathlib import Path
from typing import Any, Literal

import torch

from speech.errors import SpeechError
from speech.generation import GenerationConfig
from speech.importers.names import assemble, rename
from speech.importers.nemo import (
    ENCODER_DROPPED,
    ENCODER_RULES,
    MAX_CONFIG_BYTES,
    Archive,
    encoder_config,
    frontend_config,
    input_scale,
    scale_input,
)
from speech.importers.settings import MAX_COUNT, Settings
from speech.models.aed import AED
from speech.nn.config import AEDConfig, DecoderConfig
from speech.text.base import BaseTokenizer
from speech.text.canary import AggregateTokenizer, UnifiedTokenizer
from speech.text.prompt import FORMATS

DECODER = r"transf_decoder\._decoder\."
EMBEDDING = r"transf_decoder\._embedding\."
RULES = [
    *ENCODER_RULES,
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
DROPPED = [*ENCODER_DROPPED, EMBEDDING + r"position_embedding\.pos_enc"]
ACTS: dict[str, Literal["relu", "gelu"]] = {"relu": "relu", "gelu": "gelu"}
FIXED: dict[str, tuple[Any, ...]] = {
    "transf_encoder.num_layers": (0,),
    "transf_decoder.config_dict.pre_ln": (True,),
    "transf_decoder.config_dict.learn_positional_encodings": (False,),
    "transf_decoder.config_dict.num_token_types": (0,),
    "transf_decoder.pre_ln_final_layer_norm": (True,),
    "head.num_layers": (1,),
}


def model_config(config: Settings, tied: bool) -> AEDConfig:
    """Settings of the family as the archive has them. SpeechError names a value that ours cannot do."""
    config.check(FIXED)
    decoder = "transf_decoder.config_dict."
    return AEDConfig(
        frontend=frontend_config(config),
        encoder=encoder_config(config),
        decoder=DecoderConfig(
            d_model=config.size(decoder + "hidden_size"),
            n_layers=config.size(decoder + "num_layers", MAX_COUNT),
            n_heads=config.size(decoder + "num_attention_heads"),
            d_ff=config.size(decoder + "inner_size"),
            act=config.choose(decoder + "hidden_act", ACTS, "relu"),
            vocab_pad=8,
            tied=tied,
            max_tokens=config.size(decoder + "max_sequence_length"),
            dropout=config.number(decoder + "ffn_dropout", 0.1),
            attn_dropout=config.number(decoder + "attn_score_dropout", 0.0),
        ),
        ctc=False,
    )


def read_tokenizer(archive: Archive, config: Settings) -> BaseTokenizer:
    """Aggregate of `tokenizer.langs`, in their order, or the one model of all languages."""
    languages = config.get("tokenizer.langs")
    if isinstance(languages, dict):
        files = {str(name): config.text(f"tokenizer.langs.{name}.model_path") for name in languages}
        return AggregateTokenizer({name: archive.read(file, MAX_CONFIG_BYTES) for name, file in files.items()})
    return UnifiedTokenizer(archive.read(config.text("tokenizer.model_path"), MAX_CONFIG_BYTES))


def search_settings(
    format: str, beam_size: int = 1, length_penalty: float = 0.0, extra_tokens: int = 50
) -> GenerationConfig:
    """Canary's own search: the length counts the prompt, ended hypotheses stay in the beam."""
    return GenerationConfig(
        beam_size=beam_size,
        length_penalty=length_penalty,
        max_tokens_per_second=12.5,  # one a frame of the encoder
        extra_tokens=extra_tokens,
        max_seconds=40.0,
        max_repeats=10,
        min_seconds=1.0,
        punctuation=True,
        prompt_format=format,
        ended_stay=True,
        rank_normalised=True,
        count_prompt=True,
    )


def read_generation(config: Settings) -> GenerationConfig:
    beam = "decoding.beam."
    return search_settings(
        config.choose("prompt_format", {name: name for name in FORMATS}, "canary"),
        beam_size=round(config.number(beam + "beam_size", 1, low=1)),
        length_penalty=config.number(beam + "len_pen", 0.0),
        extra_tokens=max(0, round(config.number(beam + "max_generation_delta", 50, low=-1))),
    )


def read(path: Path) -> tuple[AED, BaseTokenizer, GenerationConfig]:
    """Model, tokenizer and search settings of a .nemo archive."""
    archive = Archive(path)
    config = archive.config()
    tokenizer = read_tokenizer(archive, config)
    return _read_model(archive, config, tokenizer.size), tokenizer, read_generation(config)


def _read_model(archive: Archive, config: Settings, vocab_size: int) -> AED:
    """On the CPU in eval mode. Head and embedding are one only if they are equal."""
    path, classes = archive.path, config.size("head.num_classes")
    if classes != -(-vocab_size // 8) * 8:
        raise SpeechError(f"{path}: the head has {classes} classes, the tokenizer {vocab_size}")
    weights = rename(archive.weights(), RULES, DROPPED)
    head, embed = (weights.get(f"decoder.{name}.weight") for name in ("head", "embed"))
    if head is None or embed is None:
        raise SpeechError(f"{path}: the weights of the embedding or of the head are missing")
    tied = torch.equal(head, embed)
    if tied:
        del weights["decoder.head.weight"]
    scale_input(weights, input_scale(config))
    settings = model_config(config, tied)
    return assemble(lambda: AED(settings, vocab_size), weights, str(path))
