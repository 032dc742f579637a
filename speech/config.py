"""Dataclass from YAML files and flags: the only place with jsonargparse."""

from collections.abc import Sequence
from typing import TypeVar

from jsonargparse import ArgumentError, ArgumentParser, set_parsing_settings

from speech.errors import SpeechError, one_line

T = TypeVar("T")


def parse(cls: type[T], argv: Sequence[str] | None, prog: str, description: str) -> T:
    """Values of `--config a.yaml --config b.yaml --model.encoder.d_model 128`: later files and flags win, key by key.

    An unknown key or a wrong type is a SpeechError of one line that names the key.
    """
    set_parsing_settings(docstring_parse_attribute_docstrings=True)  # the lines below fields become --help
    usage = f"{prog} [-h] [--config FILE.yaml]... [--SECTION.NAME VALUE]..."
    parser = ArgumentParser(prog=prog, usage=usage, description=description, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config", action="config", help="YAML file of values; may be given several times")
    parser.add_class_arguments(cls)
    try:
        values = vars(parser.instantiate(parser.parse_args(argv)))
    except ArgumentError as error:
        message = one_line(error).replace("<class '", "").replace("'>", "")
        raise SpeechError(f"{message}; {prog} --help lists every setting") from None
    return cls(**{name: values[name] for name in cls.__dataclass_fields__})  # type: ignore[attr-defined]
