"""Lightning wiring of the AED recogniser."""

import lightning as L
import torch
from torch import Tensor

from speech.data.asr import ASRBatch
from speech.data.augment import example_rng, spec_augment_masks
from speech.models.aed import AED
from speech.models.losses import AEDLoss, aed_loss
from speech.training.config import AEDRecipe
from speech.training.optim import freeze, make_optimizer
from speech.training.step_weight import StepWeight


def global_sum(value: Tensor, strategy) -> Tensor:
    return strategy.reduce(value.detach().float(), reduce_op="sum")


class AEDTask(L.LightningModule):
    """Loss = ((1 - w) attention + w CTC), summed and divided once by the target tokens of all ranks and batches."""

    parts = ("attention", "ctc")

    def __init__(self, model: AED, recipe: AEDRecipe, blank: int):
        super().__init__()
        self.model, self.recipe, self.blank = model, recipe, blank
        self.weight = StepWeight()  # target tokens
        self.still = freeze(model, recipe.optim.freeze)
        self.train()

    def train(self, mode: bool = True) -> "AEDTask":
        """Frozen parts stay as they are in use: no dropout, and batch norms by the statistics they have."""
        super().train(mode)
        for module in self.still:
            module.eval()
        return self

    def losses(self, batch: ASRBatch, augment: bool) -> AEDLoss:
        features, lengths = self.model.frontend(batch.waveforms, batch.waveform_lengths)
        if augment:
            a = self.recipe.data.augment
            cuts = zip(batch.passes, batch.ids, strict=True)
            rngs = [example_rng(self.recipe.train.seed, number, f"{i}/spec") for number, i in cuts]
            freq, time = (a.freq_masks, a.freq_width), (a.time_masks, a.time_width)
            masks = spec_augment_masks(rngs, lengths.tolist(), features.size(2), freq, time).to(features.device)
            features = features[:, : masks.size(1)] * masks
        smoothing = self.recipe.train.label_smoothing if augment else 0.0
        return aed_loss(
            self.model,
            features,
            lengths,
            batch.tokens,
            batch.token_lengths,
            batch.prompt_lengths,
            smoothing,
            self.blank,
        )

    def training_step(self, batch: ASRBatch, _: int) -> dict[str, Tensor]:
        parts = self.losses(batch, augment=True)
        w = self.recipe.train.ctc_weight if parts.ctc is not None else 0.0
        ctc = parts.ctc.total if parts.ctc is not None else parts.attention.total.new_zeros(())
        loss, n = (1 - w) * parts.attention.total + w * ctc, parts.attention.weight
        self.weight.add(n)
        return {"loss": loss, "sums": torch.stack([loss, parts.attention.total, ctc, n]).detach()}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        self.weight.divide(self.model, self.trainer, self.recipe.train.accumulate)

    def on_validation_epoch_start(self) -> None:
        self.sums = torch.zeros(4, dtype=torch.float64)

    def validation_step(self, batch: ASRBatch, _: int) -> None:
        parts = self.losses(batch, augment=False)
        ctc = parts.ctc.total if parts.ctc is not None else torch.zeros(())
        values = [parts.attention.total, ctc, parts.correct, parts.attention.weight]
        self.sums += torch.stack([v.detach().double().cpu() for v in values])

    def on_validation_epoch_end(self) -> None:
        attention, ctc, correct, weight = global_sum(self.sums.to(self.device), self.trainer.strategy).tolist()
        self.log("dev_attention", attention / weight)
        self.log("dev_ctc", ctc / weight)
        self.log("dev_error", 1 - correct / weight)

    def transfer_batch_to_device(self, batch: ASRBatch, device: torch.device, dataloader_idx: int) -> ASRBatch:
        return batch.to(device)

    def configure_optimizers(self):
        optimizer, schedule = make_optimizer(self.model, self.recipe.optim, self.recipe.train.max_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
