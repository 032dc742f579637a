"""Dataclass from YAML files and flags: the only place with jsonargparse."""

from collections.abc import Sequence
from typing import TypeVar

from jsonargparse import ArgumentParser

T = TypeVar("T")


def parse(cls: type[T], argv: Sequence[str] | None, prog: str, description: str) -> T:
    """Values of `--config a.yaml --config b.yaml --model.encoder.d_model 128`: later files and flags win, key by key.

    Unknown keys and wrong types end the program with exit code 2 and one line that names the key.
    """
    parser = ArgumentParser(prog=prog, description=description, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="YAML file of values; may be given several times")
    parser.add_class_arguments(cls)
    values = vars(parser.instantiate(parser.parse_args(argv)))
    return cls(**{name: values[name] for name in cls.__dataclass_fields__})  # type: ignore[attr-defined]
