"""The settings of a command line; with `init`, those of the model folder stand before all that is given."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TypeVar

from speech.config import parse
from speech.errors import SpeechError
from speech.generation import GenerationConfig, SearchDefaults
from speech.nn.config import AEDConfig
from speech.text.base import BaseTokenizer
from speech.text.files import read_object
from speech.text.load import load_tokenizer
from speech.training.config import AEDRecipe
from speech.training.run import flat

R = TypeVar("R", bound=AEDRecipe)
# settings of a model that its weights do not depend on; positions are computed, so max_tokens is one of them
CHANGEABLE = (
    *("encoder.dropout", "encoder.attn_dropout", "decoder.dropout", "decoder.attn_dropout"),
    *("decoder.max_tokens", "ctc"),
)
FROM_FOLDER = ("language", "punctuation", "prompt_format")  # settings of the data


def parse_recipe(cls: type[R], argv: Sequence[str] | None, prog: str, description: str) -> R:
    """`parse`; with `init`, what is not given is taken from that folder: model, tokenizer, prompt, search."""
    argv = sys.argv[1:] if argv is None else argv
    recipe = parse(cls, argv, prog, description)
    if not recipe.init:
        return recipe
    model, generation = read_settings(recipe.init)
    values = {f"model.{key}": value for key, value in flat(asdict(model)).items()}
    values |= {f"generation.{f.name}": getattr(generation, f.name) for f in fields(SearchDefaults)}
    values |= {f"data.{name}": getattr(generation, name) for name in FROM_FOLDER}
    values["data.tokenizer"] = recipe.init
    flags = [f"--{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in values.items()]
    return parse(cls, [*flags, *argv], prog, description)


def read_settings(folder: str | Path) -> tuple[AEDConfig, GenerationConfig]:
    """What a model folder says of itself. SpeechError names the file that is missing or says something else."""
    from speech.folder import load_settings  # with torch, which --help does without

    folder = Path(folder)
    config, generation = load_settings(folder, "aed", "frontend"), read_object(folder, "generation_config.json")
    config.pop("vocab_size", None)
    try:
        return AEDConfig.from_dict(config), GenerationConfig(**generation)
    except (SpeechError, TypeError) as error:
        raise SpeechError(f"init {folder}: {error}") from None


def generation_of(recipe: AEDRecipe) -> GenerationConfig:
    """For the model folder to be written. What a recipe does not have, as the temperature, is the init folder's."""
    data = {name: getattr(recipe.data, name) for name in FROM_FOLDER}
    start = read_settings(recipe.init)[1] if recipe.init else GenerationConfig()
    return replace(start, **vars(recipe.generation), **data)


def check_init(recipe: AEDRecipe, tokenizer: BaseTokenizer) -> None:
    """SpeechError for a setting that the weights of the folder cannot have.

    Another prompt format goes with another tokenizer only: its symbols are learnt anew there.
    """
    model, generation = read_settings(recipe.init)
    given = flat(asdict(recipe.model))
    for key, value in flat(asdict(model)).items():
        if key not in CHANGEABLE and given[key] != value:
            raise SpeechError(
                f"model.{key} is {value} in the folder {recipe.init} and {given[key]} here: leave model.{key} out, or "
                "train without init"
            )
    ours, theirs = recipe.data.prompt_format, generation.prompt_format
    if ours != theirs and tokenizer.fingerprint == load_tokenizer(recipe.init).fingerprint:
        raise SpeechError(
            f"data.prompt_format is {theirs} in the folder {recipe.init} and {ours} here: leave it out, or give "
            "another data.tokenizer with it"
        )
