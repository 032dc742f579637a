"""Lightning wiring of FastSpeech."""

from collections.abc import Mapping

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from speech.data.asr import ASRBatch
from speech.errors import DataError
from speech.models.fastspeech import FastSpeech
from speech.models.tts_losses import FastSpeechLoss, fastspeech_loss
from speech.models.voice_sound import VoiceSound
from speech.training.optim import make_optimizer
from speech.training.step_weight import StepWeight
from speech.training.voice_config import FastSpeechRecipe


class FastSpeechTask(L.LightningModule):
    """L1 of the mels per frame, and the error of the log durations per phoneme with its weight."""

    parts = ("mel", "duration")

    def __init__(
        self, model: FastSpeech, sound: VoiceSound, durations: Mapping[str, np.ndarray], recipe: FastSpeechRecipe
    ):
        super().__init__()
        self.model, self.sound, self.recipe = model, sound, recipe
        self.durations = durations
        self.weight = StepWeight()

    def losses(self, batch: ASRBatch) -> FastSpeechLoss:
        mel, frames = self.sound(batch.waveforms, batch.waveform_lengths)
        durations = pad_sequence([torch.from_numpy(self.durations[i]) for i in batch.ids], batch_first=True).to(
            mel.device
        )
        if durations.shape != batch.tokens.shape or not torch.equal(durations.sum(1), frames):
            raise DataError(f"durations of {', '.join(batch.ids)} do not fit: let the aligner write them anew")
        out = self.model(batch.tokens, batch.token_lengths, durations)
        return fastspeech_loss(out, mel, batch.token_lengths)

    def training_step(self, batch: ASRBatch, _: int) -> dict[str, Tensor]:
        parts = self.losses(batch)
        n = parts.mel.weight
        duration = parts.duration.total / parts.duration.weight * n
        loss = parts.mel.total + self.recipe.duration_weight * duration
        self.weight.add(n)
        return {"loss": loss, "sums": torch.stack([loss, parts.mel.total, duration, n]).detach()}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        self.weight.divide(self.model, self.trainer, self.recipe.train.accumulate)

    def on_validation_epoch_start(self) -> None:
        self.sums = torch.zeros(6, dtype=torch.float64)

    def validation_step(self, batch: ASRBatch, _: int) -> None:
        parts = self.losses(batch)
        self.sums += torch.stack([*parts.mel, *parts.duration, *parts.frames]).double().cpu()

    def on_validation_epoch_end(self) -> None:
        mel, n, duration, phonemes, frames, true = self.trainer.strategy.reduce(
            self.sums.to(self.device), reduce_op="sum"
        ).tolist()
        self.log("dev_mel", mel / n)
        self.log("dev_duration", duration / phonemes)
        self.log("dev_length_ratio", frames / true)

    def transfer_batch_to_device(self, batch: ASRBatch, device: torch.device, dataloader_idx: int) -> ASRBatch:
        return batch.to(device)

    def configure_optimizers(self):
        optimizer, schedule = make_optimizer(self.model, self.recipe.optim, self.recipe.train.max_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
