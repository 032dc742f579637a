"""Dataclass from YAML files and flags: the only place with jsonargparse."""

import sys
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

import yaml
from jsonargparse import ArgumentError, ArgumentParser, set_parsing_settings

from speech.errors import SpeechError, one_line

T = TypeVar("T")
PRESETS = Path(__file__).with_name("presets")
PARTS = {"mel", "aligner", "fastspeech", "transformer_tts", "vocoder"}  # of a file for a voice; mel is for anchors


def presets() -> dict[str, str]:
    """Names of the models that come with the package, and what they are."""
    files = sorted(PRESETS.glob("*.yaml"))
    return {file.stem: file.read_text(encoding="utf-8").split("\n")[0].removeprefix("# ") for file in files}


def _configs(argv: Sequence[str], part: str) -> list[str]:
    """`--config NAME` of a preset becomes the path of its file, unless a file has that name; of a file of several
    trainings stays the part that is asked for."""
    out, words = [], iter(argv)
    for word in words:
        flag, equals, name = word.partition("=")
        if flag != "--config" or not (name := name if equals else next(words, "")):
            out.append(word)
            continue
        file = PRESETS / f"{name}.yaml"
        if "/" not in name and not Path(name).exists() and file.is_file():
            name = str(file)
        out += ["--config", _part(name, part) if part else name]
    return out


def _part(name: str, part: str) -> str:
    try:
        values = yaml.safe_load(Path(name).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError):
        return name  # told by the parser
    if not isinstance(values, dict) or not values.keys() & PARTS:
        return name
    if unknown := sorted(map(str, values.keys() - PARTS)):
        raise SpeechError(f"{name}: '{unknown[0]}' is not one of its parts {', '.join(sorted(PARTS))}")
    return yaml.safe_dump(values.get(part) or {})


def parse(cls: type[T], argv: Sequence[str] | None, prog: str, description: str, part: str = "") -> T:
    """Values of `--config base --config b.yaml --model.encoder.d_model 128`: later files and flags win, key by key.

    With `part`, a file may hold one of `PARTS` for each training of a voice.

    An unknown key or a wrong type is a SpeechError of one line that names the key.
    """
    set_parsing_settings(docstring_parse_attribute_docstrings=True)  # the lines below fields become --help
    usage = f"{prog} [-h] [--config FILE.yaml]... [--SECTION.NAME VALUE]..."
    parser = ArgumentParser(prog=prog, usage=usage, description=description, allow_abbrev=False, exit_on_error=False)
    parser.add_argument(
        "--config",
        action="config",
        help="YAML file of values, or a model of `speech models`; may be given several times",
    )
    parser.add_class_arguments(cls)
    try:
        words = _configs(sys.argv[1:] if argv is None else argv, part)
        values = vars(parser.instantiate(parser.parse_args(words)))
    except ArgumentError as error:
        message = one_line(error).replace("<class '", "").replace("'>", "")
        raise SpeechError(f"{message}; {prog} --help lists every setting") from None
    return cls(**{name: values[name] for name in cls.__dataclass_fields__})  # type: ignore[attr-defined]


def require(recipe: object, *names: str) -> None:
    """SpeechError for the first of these settings, by their dotted names, that is empty."""
    for name in names:
        if not attrgetter(name)(recipe):
            raise SpeechError(f"{name} is empty: give --{name} PATH")
