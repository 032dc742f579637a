"""Losses are sums with weights: the mean over all ranks and batches is taken once, here."""

from typing import Any

import lightning as L
import torch
from torch import Tensor


class MeanGradient(L.Callback):
    """Makes gradients of sums those of the mean, before the optimiser; every batch adds to the task's `weight`."""

    def on_before_optimizer_step(self, trainer, pl_module: Any, optimizer) -> None:
        weight, pl_module.weight = pl_module.weight, 0.0
        # DDP has averaged the gradients of the sums over ranks, Lightning has divided them by the number of batches
        divided = trainer.world_size * trainer.accumulate_grad_batches
        factor = divided / trainer.strategy.reduce(weight.float(), reduce_op="sum")
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        torch._foreach_mul_(gradients, factor)  # type: ignore


def log_dev(task: L.LightningModule, name: str, pair: tuple[Tensor, Tensor]) -> None:
    """Log a sum and its weight in one batch of dev as `dev_<name>`, the mean of all."""
    total, weight = (value.detach().double() for value in pair)
    # the weight in float: Lightning averages it over ranks, which would cut a whole number
    mean, n = total / weight.clamp_min(1), float(weight)
    task.log(f"dev_{name}", mean, batch_size=n, sync_dist=True, logger=False)  # type: ignore
