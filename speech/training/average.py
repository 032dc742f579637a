"""The mean of the last checkpoints is the model that is kept."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from speech.errors import SpeechError
from speech.training.checkpoint import checkpoints, fault


def average_states(files: list[Path]) -> dict[str, torch.Tensor]:
    """Mean in float64 of the floating tensors; whole-number tensors are the last one's."""
    states = [load_file(file) for file in files]
    return {
        name: torch.stack([s[name].double() for s in states]).mean(0).to(last.dtype)
        if last.is_floating_point()
        else last
        for name, last in states[-1].items()
    }


def average_checkpoints(root: Path, count: int, model: nn.Module) -> str:
    """Load the mean of the newest `count` whole checkpoints under `root` into the model; returns what was averaged."""
    whole = [path for path in checkpoints(root) if fault(path) is None][-count:]
    if not whole:
        raise SpeechError(f"no whole checkpoint in {root}")
    state = average_states([path / "model.safetensors" for path in whole])
    own = {name.removeprefix("model."): tensor for name, tensor in state.items() if name.startswith("model.")}
    model.load_state_dict(own)
    model.eval()
    return f"Mean of the checkpoints of steps {', '.join(str(int(path.stem.removeprefix('step-'))) for path in whole)}."
