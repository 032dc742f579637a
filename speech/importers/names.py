"""Foreign weights under our names: nothing is left over, nothing is guessed."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from speech.errors import SpeechError, one_line
from speech.models.aed import AED
from speech.models.ctc import CTCModel
from speech.nn.frontend import Frontend

Model = TypeVar("Model", AED, CTCModel)


def rename(
    weights: Mapping[str, Tensor], rules: Sequence[tuple[str, str]], dropped: Sequence[str]
) -> dict[str, Tensor]:
    """Weights by our names. A rule is a pattern of whole names and its replacement; the first that matches counts.

    SpeechError lists the names that no rule and no pattern of `dropped` matches.
    """
    out, unknown = {}, []
    for name, tensor in weights.items():
        if any(re.fullmatch(pattern, name) for pattern in dropped):
            continue
        for pattern, ours in rules:
            if match := re.fullmatch(pattern, name):
                out[match.expand(ours)] = tensor
                break
        else:
            unknown.append(name)
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
    _fill(model, {**statistics, **weights}, what)
    return model.eval()


def _fill(model: Model, weights: Mapping[str, Tensor], what: str) -> None:
    """Loads every parameter and buffer; SpeechError names those that are missing, left over or of another shape."""
    ours = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    theirs = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    faults = [f"{name} is missing" for name in ours if name not in theirs]
    faults += [f"{name} has no place in the model" for name in theirs if name not in ours]
    faults += [f"{n} is {theirs[n]}, the model has {ours[n]}" for n in ours if n in theirs and ours[n] != theirs[n]]
    if faults:
        more = f", and {len(faults) - 10} more" if len(faults) > 10 else ""
        raise SpeechError(f"{what}: {'; '.join(faults[:10])}{more}")
    model.load_state_dict(dict(weights), assign=True)  # no second copy of a large model
