"""Dataclass from YAML files and flags: the only place with jsonargparse."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from jsonargparse import ArgumentError, ArgumentParser, set_parsing_settings

from speech.errors import SpeechError, one_line

T = TypeVar("T")
PRESETS = Path(__file__).with_name("presets")


def presets() -> dict[str, str]:
    """Names of the models that come with the package, and what they are."""
    files = sorted(PRESETS.glob("*.yaml"))
    return {file.stem: file.read_text(encoding="utf-8").split("\n")[0].removeprefix("# ") for file in files}


def _with_presets(argv: Sequence[str]) -> list[str]:
    """`--config NAME` of a preset becomes the path of its file, unless a file has that name."""
    out = []
    for before, word in zip(["", *argv], argv, strict=False):
        flag, equals, name = word.partition("=")
        joined = bool(equals) and flag == "--config"
        name = name if joined else word
        file = PRESETS / f"{name}.yaml"
        if (joined or before == "--config") and "/" not in name and not Path(name).exists() and file.is_file():
            word = f"--config={file}" if joined else str(file)
        out.append(word)
    return out


def parse(cls: type[T], argv: Sequence[str] | None, prog: str, description: str) -> T:
    """Values of `--config base --config b.yaml --model.encoder.d_model 128`: later files and flags win, key by key.

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
        words = _with_presets(sys.argv[1:] if argv is None else argv)
        values = vars(parser.instantiate(parser.parse_args(words)))
    except ArgumentError as error:
        message = one_line(error).replace("<class '", "").replace("'>", "")
        raise SpeechError(f"{message}; {prog} --help lists every setting") from None
    return cls(**{name: values[name] for name in cls.__dataclass_fields__})  # type: ignore[attr-defined]
