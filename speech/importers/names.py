"""Foreign weights under our names: nothing is left over, nothing is guessed."""

import pickle
import re
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from speech.errors import SpeechError, one_line
from speech.models.aed import AED
from speech.models.ctc import CTCModel
from speech.nn.frontend import Frontend

FAMILIES = ("firered", "nemo", "transformers")
Model = TypeVar("Model", AED, CTCModel)


def load_pickle(file: Path | BytesIO, what: str) -> Any:
    """What torch saved, on the CPU. SpeechError for a file that is broken or holds more than weights and arguments."""
    try:
        with torch.serialization.safe_globals([Namespace]):
            return torch.load(file, map_location="cpu", weights_only=True, mmap=isinstance(file, Path))
    except OSError as error:
        raise SpeechError(f"{what}: cannot be read ({error.strerror or one_line(error)})") from None
    except (pickle.UnpicklingError, RuntimeError, ValueError, KeyError, TypeError, EOFError) as error:
        raise SpeechError(f"{what}: broken, or more than weights ({one_line(error)})") from None


def tensors(values: Any, what: str) -> dict[str, Tensor]:
    pairs = values.items() if isinstance(values, dict) else [(None, None)]
    if not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in pairs):
        raise SpeechError(f"{what}: not a mapping of names to weights")
    return values


def rules_of(family: str) -> Iterator[tuple[str, str | None]]:
    """Patterns of a family's names, and how ours are made of their groups; None where the weight is dropped."""
    column, begin = FAMILIES.index(family) + 1, []
    for line in Path(__file__).with_name("weights.txt").read_text().splitlines():
        if not line or line.startswith(";"):
            continue
        row = line.split()
        if not line[0].isspace():
            begin = ["" if cell == "-" else f"{cell}." for cell in row]
        elif row[column] != "-":
            theirs = re.escape(begin[column] + row[column])
            theirs = theirs.replace(r"\#", r"(\d+)").replace("@", "([qkv])").replace(r"\*", r"\w+")
            parts = re.split("[#@]", begin[0] + row[0])
            ours = "".join(rf"{part}\{i}" for i, part in enumerate(parts, 1))  # the last group is the ending
            yield (theirs, None) if row[0] == "-" else (rf"{theirs}((?:\.\w+)?)", ours)


def rename(weights: Mapping[str, Tensor], family: str) -> dict[str, Tensor]:
    """Weights by our names; the first line of weights.txt that fits a whole name counts.

    SpeechError lists the names that none fits.
    """
    rules = [(re.compile(theirs), ours) for theirs, ours in rules_of(family)]
    out, unknown = {}, []
    for name, tensor in weights.items():
        match, ours = next(((m, ours) for theirs, ours in rules if (m := theirs.fullmatch(name))), (None, None))
        if match is None:
            unknown.append(name)
        elif ours is not None:
            out[match.expand(ours)] = tensor
    if unknown:
        raise SpeechError(f"{len(unknown)} weights of the checkpoint are not known: {', '.join(sorted(unknown)[:20])}")
    return out


def assemble(make: Callable[[], Model], weights: Mapping[str, Tensor], what: str) -> Model:
    """The model that `make` builds, filled, on the CPU in eval mode. The tables of its front end are made, not loaded.

    SpeechError, beginning with `what`, for settings that build none and for weights that do not fit.
    """
    try:
        with torch.device("meta"):
            model = make()
        model.frontend = Frontend(model.config.frontend)
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:  # values no layer can have
        raise SpeechError(f"{what}: the settings build no model: {one_line(error)}") from None
    statistics = {"frontend.mean": model.frontend.mean, "frontend.inv_std": model.frontend.inv_std}
    try:
        model.load_state_dict({**statistics, **weights}, assign=True)  # no second copy of a large model
    except RuntimeError as error:  # names that are missing or left over, and other shapes
        raise SpeechError(f"{what}: {one_line(error, 2000)}") from None
    return model.eval()
