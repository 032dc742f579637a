"""Canary as NeMo has it: an archive with the recogniser, its tokenizers and, in canary-1b-v2, an aligner."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from speech.errors import SpeechError
from speech.generation import GenerationConfig
from speech.importers.names import assemble, rename
from speech.importers.nemo import MAX_CONFIG_BYTES, Archive, acoustic_config, scale_input
from speech.importers.settings import FIXED, MAX_COUNT, Settings
from speech.models.aed import AED
from speech.nn.config import AEDConfig, DecoderConfig
from speech.text.base import BaseTokenizer
from speech.text.canary import AggregateTokenizer, UnifiedTokenizer
from speech.text.prompt import FORMATS

ACTS: dict[str, Literal["relu", "gelu"]] = {"relu": "relu", "gelu": "gelu"}
VOCAB_PAD = 8  # the classes of the head are a multiple of it
# its own search: the length counts the prompt, ended hypotheses stay in the beam
SEARCH = GenerationConfig(
    beam_size=1,
    length_penalty=0.0,
    max_tokens_per_second=12.5,  # one a frame of the encoder
    extra_tokens=50,
    max_seconds=40.0,
    max_repeats=10,
    min_seconds=1.0,
    punctuation=True,
    ended_stay=True,
    rank_normalised=True,
    count_prompt=True,
)


def model_config(config: Settings, tied: bool) -> AEDConfig:
    """Settings of the family as the archive has them. SpeechError names a value that ours cannot do."""
    config.check(FIXED["canary"])
    frontend, encoder = acoustic_config(config)
    decoder = "transf_decoder.config_dict."
    return AEDConfig(
        frontend=frontend,
        encoder=encoder,
        decoder=DecoderConfig(
            d_model=config.size(decoder + "hidden_size"),
            n_layers=config.size(decoder + "num_layers", MAX_COUNT),
            n_heads=config.size(decoder + "num_attention_heads"),
            d_ff=config.size(decoder + "inner_size"),
            act=config.choose(decoder + "hidden_act", ACTS, "relu"),
            vocab_pad=VOCAB_PAD,
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


def read_generation(config: Settings) -> GenerationConfig:
    beam = "decoding.beam."
    return replace(
        SEARCH,
        prompt_format=config.choose("prompt_format", {name: name for name in FORMATS}, "canary"),
        beam_size=round(config.number(beam + "beam_size", 1, low=1)),
        length_penalty=config.number(beam + "len_pen", 0.0),
        extra_tokens=max(0, round(config.number(beam + "max_generation_delta", 50, low=-1))),
    )


def read(path: Path) -> tuple[AED, BaseTokenizer, GenerationConfig]:
    """Model on the CPU in eval mode, tokenizer and search settings of a .nemo archive."""
    archive = Archive(path)
    config = archive.config()
    tokenizer = read_tokenizer(archive, config)
    check_classes(config, "head.num_classes", tokenizer)
    weights = rename(archive.weights(), "nemo")
    settings = model_config(config, untie(weights))
    scale_input(weights, config, "encoder.xscaling", settings.encoder.d_model)
    return assemble(lambda: AED(settings, tokenizer.size), weights, str(path)), tokenizer, read_generation(config)


def check_classes(config: Settings, name: str, tokenizer: BaseTokenizer) -> None:
    classes = config.size(name)
    if classes != -(-tokenizer.size // VOCAB_PAD) * VOCAB_PAD:
        raise SpeechError(f"{config.file}: the head has {classes} classes, the tokenizer {tokenizer.size}")


def untie(weights: dict[str, Tensor]) -> bool:
    """Whether head and embedding are equal; then the head is taken out, for ours has one for both."""
    head, embed = (weights.get(f"decoder.{name}.weight") for name in ("head", "embed"))
    tied = head is not None and embed is not None and torch.equal(head, embed)
    if tied:
        del weights["decoder.head.weight"]
    return tied
