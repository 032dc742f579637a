"""Lightning wiring of the aligner."""

import lightning as L
import torch
from torch import Tensor

from speech.data.asr import ASRBatch
from speech.models.aligner import Aligner, binarisation_loss, focus, forward_sum_loss, hard_durations
from speech.models.voice_sound import VoiceSound
from speech.nn.masks import valid
from speech.training.optim import make_optimizer
from speech.training.step_weight import StepWeight
from speech.training.voice_config import AlignerRecipe


class AlignerTask(L.LightningModule):
    """Forward-sum loss per phoneme; after a while the negative log probability of the hard path is added, per frame."""

    parts = ("forward_sum", "binarisation")

    def __init__(self, model: Aligner, sound: VoiceSound, recipe: AlignerRecipe):
        super().__init__()
        self.model, self.sound, self.recipe = model, sound, recipe
        self.weight = StepWeight()

    def scores(self, batch: ASRBatch, prior: bool = True) -> tuple[Tensor, Tensor]:
        """[B, T, N] and mel lengths [B]."""
        mel, frames = self.sound(batch.waveforms, batch.waveform_lengths)
        return self.model(batch.tokens, batch.token_lengths, mel, frames, prior), frames

    def training_step(self, batch: ASRBatch, _: int) -> dict[str, Tensor]:
        scores, frames = self.scores(batch)
        total, n = forward_sum_loss(scores, frames, batch.token_lengths)
        hard = torch.zeros_like(total)
        if self.global_step >= self.recipe.hard_share * self.recipe.train.max_steps:
            durations = hard_durations(scores, frames, batch.token_lengths)
            path = binarisation_loss(scores, durations, frames)
            hard = path.total / path.weight * n
        self.weight.add(n)
        return {"loss": total + hard, "sums": torch.stack([total + hard, total, hard, n]).detach()}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        self.weight.divide(self.model, self.trainer, self.recipe.train.accumulate)

    def on_validation_epoch_start(self) -> None:
        self.sums = torch.zeros(4, dtype=torch.float64)

    def validation_step(self, batch: ASRBatch, _: int) -> None:
        scores, frames = self.scores(batch)
        total, n = forward_sum_loss(scores, frames, batch.token_lengths)
        sure = focus(scores) * valid(frames, scores.size(1))
        self.sums += torch.stack([total, n, sure.sum(), frames.sum()]).double().cpu()

    def on_validation_epoch_end(self) -> None:
        total, n, sure, frames = self.trainer.strategy.reduce(self.sums.to(self.device), reduce_op="sum").tolist()
        self.log("dev_forward_sum", total / n)
        self.log("dev_focus_rate", sure / frames)

    def transfer_batch_to_device(self, batch: ASRBatch, device: torch.device, dataloader_idx: int) -> ASRBatch:
        return batch.to(device)

    def configure_optimizers(self):
        optimizer, schedule = make_optimizer(self.model, self.recipe.optim, self.recipe.train.max_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
