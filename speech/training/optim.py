"""AdamW with warm-up schedules, frozen parts and rates by layer."""

import math
from collections.abc import Sequence

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import nn

from speech.errors import SpeechError
from speech.training.config import OptimConfig


def lr_factor(step: int, warmup: int, max_steps: int, schedule: str) -> float:
    """Share of the peak rate at an optimiser step counted from 0."""
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "inverse_sqrt":
        return math.sqrt(max(1, warmup) / (step + 1))
    progress = min(1.0, (step - warmup) / max(1, max_steps - warmup))
    return 0.5 * (1 + math.cos(math.pi * progress))


def make_optimizer(model: nn.Module, config: OptimConfig, max_steps: int) -> OptimizerLRSchedulerConfig:
    """Weight decay on matrices and kernels only; every parameter that is not frozen is in exactly one group.

    Lower blocks of the encoder learn more slowly (J. Howard and S. Ruder, arXiv 1801.06146 section 3.2); the first
    group has the highest rate.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    blocks = 1 + max((block_of(name) for name, _ in model.named_parameters()), default=0)
    members: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, p in named:
        scale = config.layer_decay ** (blocks - 1 - block_of(name)) if name.startswith("encoder.") else 1.0
        members.setdefault((scale, config.weight_decay if p.ndim > 1 else 0.0), []).append(p)
    groups = [
        {"params": members[scale, decay], "lr": scale * config.lr, "weight_decay": decay}
        for scale, decay in sorted(members, reverse=True)
    ]
    assert sum(len(group["params"]) for group in groups) == len(named)
    optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=config.betas)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: lr_factor(step, config.warmup_steps, max_steps, config.schedule)
    )
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def block_of(name: str) -> int:
    """Number from 0 of the encoder's block that a parameter lies in; 0 for all others, the subsampling with them."""
    parts = name.split(".")
    return int(parts[2]) if parts[:2] == ["encoder", "blocks"] else 0


def freeze(model: nn.Module, prefixes: Sequence[str]) -> list[nn.Module]:
    """Take the gradient from parameters whose dotted names begin so; returns the modules frozen with all they hold.

    Where nothing before a frozen part learns either, torch records no graph for it.
    """
    names = [name for name, _ in model.named_parameters()]
    for prefix in prefixes:
        if not any(_under(name, prefix) for name in names):
            tops = ", ".join(dict.fromkeys(name.split(".")[0] for name in names))
            raise SpeechError(f"optim.freeze: no parameter's name begins with '{prefix}'; the parts are {tops}")
    for name, p in model.named_parameters():
        p.requires_grad_(not any(_under(name, prefix) for prefix in prefixes))
    if not any(p.requires_grad for p in model.parameters()):
        raise SpeechError(f"optim.freeze {', '.join(prefixes)} leaves nothing to train")
    owners = [module for module in model.modules() if any(True for _ in module.parameters())]
    return [module for module in owners if not any(p.requires_grad for p in module.parameters())]


def _under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")
