"""The weight of an optimiser step: losses are sums, and the mean over all ranks and batches is taken once, here."""

import lightning as L
from torch import Tensor, nn

from speech.training.optim import scale_gradients


class StepWeight:
    def __init__(self) -> None:
        self.sum: Tensor | float = 0.0  # of this optimiser step so far, on this rank

    def add(self, weight: Tensor) -> None:
        self.sum = self.sum + weight.detach()

    def divide(self, model: nn.Module, trainer: L.Trainer, accumulate: int) -> None:
        """Gradients of sums to gradients of the mean, before the optimiser."""
        weight, self.sum = self.sum, 0.0
        assert isinstance(weight, Tensor)
        # DDP has averaged the gradients of the sums over ranks, Lightning has divided them by `accumulate`
        divided = trainer.world_size * accumulate
        scale_gradients(model, divided / trainer.strategy.reduce(weight.float(), reduce_op="sum"))
