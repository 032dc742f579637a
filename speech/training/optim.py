"""AdamW with warm-up schedules."""

import math

import torch
from torch import Tensor, nn

from speech.training.config import OptimConfig


def lr_factor(step: int, warmup: int, max_steps: int, schedule: str) -> float:
    """Share of the peak rate at an optimiser step counted from 0."""
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "inverse_sqrt":
        return math.sqrt(max(1, warmup) / (step + 1))
    progress = min(1.0, (step - warmup) / max(1, max_steps - warmup))
    return 0.5 * (1 + math.cos(math.pi * progress))


def make_optimizer(
    model: nn.Module, config: OptimConfig, max_steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    """Weight decay on matrices and kernels only; every parameter is in exactly one group."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=config.betas)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: lr_factor(step, config.warmup_steps, max_steps, config.schedule)
    )
    return optimizer, schedule


def scale_gradients(model: nn.Module, factor: Tensor) -> None:
    """Multiply every gradient by a scalar on the model's device."""
    torch._foreach_mul_([p.grad for p in model.parameters() if p.grad is not None], factor)  # type: ignore
