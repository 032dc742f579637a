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
from speech.models.length_regulator import scaled_durations, stretched
from speech.models.tts_losses import FastSpeechLoss, fastspeech_loss
from speech.models.voice_sound import VoiceSound
from speech.nn.masks import valid
from speech.training.optim import make_optimizer
from speech.training.step_weight import StepWeight
from speech.training.voice_config import FastSpeechRecipe

Arrays = Mapping[str, np.ndarray]


class FastSpeechTask(L.LightningModule):
    """L1 of the mels per frame, and with their weights the errors of log durations, pitch, voicing and energy per
    phoneme."""

    def __init__(
        self,
        model: FastSpeech,
        sound: VoiceSound,
        arrays: Mapping[str, Arrays],
        identities: Mapping[str, tuple[int, int]],
        recipe: FastSpeechRecipe,
    ):
        """`arrays` are `durations`, `pitch` and `energy` [N] where the model has them, and in the place of what `sound`
        hears perhaps `mels` [T, F]; `identities` are speaker and language. All by id."""
        super().__init__()
        self.model, self.sound, self.recipe = model, sound, recipe
        self.arrays, self.identities = arrays, identities
        told = {"mel": 1.0, "duration": recipe.duration_weight}
        if model.config.pitch:
            told |= {"pitch": recipe.pitch_weight, "voicing": recipe.pitch_weight}
        if model.config.energy:
            told |= {"energy": recipe.energy_weight}
        self.parts, self.part_weights = tuple(told), torch.tensor(list(told.values()))
        self.weight = StepWeight()

    def losses(self, batch: ASRBatch) -> FastSpeechLoss:
        device = batch.tokens.device
        of = {
            name: pad_sequence([torch.from_numpy(arrays[i]) for i in batch.ids], batch_first=True).to(device)
            for name, arrays in self.arrays.items()
        }
        durations, pitch, energy = of["durations"], of.get("pitch"), of.get("energy")
        if "mels" in of:
            frames = torch.tensor([len(self.arrays["mels"][i]) for i in batch.ids], device=device)
            mel = self.model.normalize(of["mels"].float()) * valid(frames, of["mels"].size(1))[..., None]
        else:
            mel, frames = self.sound(batch.waveforms, batch.waveform_lengths)
        if durations.shape != batch.tokens.shape or not torch.equal(durations.sum(1), frames):
            raise DataError(f"durations of {', '.join(batch.ids)} do not fit: let the aligner write them anew")
        for name, values in ("pitch", pitch), ("energy", energy):
            if values is not None and values.shape != durations.shape:
                raise DataError(f"{name} of {', '.join(batch.ids)} does not fit: let measure_prosody write it anew")
        who = torch.tensor([self.identities.get(i, (0, 0)) for i in batch.ids], device=device)
        pace = durations
        if self.training and self.recipe.stretch > 1:
            pace = scaled_durations(durations, self.recipe.stretch ** float(2 * torch.rand(()) - 1))
            mel = stretched(mel, durations, pace)
        out = self.model(batch.tokens, batch.token_lengths, pace, pitch, energy, who[:, 0], who[:, 1])
        return fastspeech_loss(out._replace(durations=durations), mel, batch.token_lengths, pitch, energy)

    def training_step(self, batch: ASRBatch, _: int) -> dict[str, Tensor]:
        parts = self.losses(batch)
        n = parts.mel.weight
        means = torch.stack([total / weight.clamp_min(1) for total, weight in self._told(parts)]) * n
        loss = (means * self.part_weights.to(means)).sum()
        self.weight.add(n)
        return {"loss": loss, "sums": torch.cat([torch.stack([loss]), means, torch.stack([n])]).detach()}

    def _told(self, parts: FastSpeechLoss) -> list[tuple[Tensor, Tensor]]:
        return [getattr(parts, name) for name in self.parts]

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        self.weight.divide(self.model, self.trainer, self.recipe.train.accumulate)

    def on_validation_epoch_start(self) -> None:
        self.sums = torch.zeros(len(self.parts) + 2, 2, dtype=torch.float64)

    def validation_step(self, batch: ASRBatch, _: int) -> None:
        parts = self.losses(batch)
        sums = [torch.stack(pair) for pair in (*self._told(parts), parts.frames, parts.duration_error)]
        self.sums += torch.stack(sums).double().cpu()

    def on_validation_epoch_end(self) -> None:
        sums = self.trainer.strategy.reduce(self.sums.to(self.device), reduce_op="sum")
        *means, length_ratio, error = (sums[:, 0] / sums[:, 1].clamp_min(1)).tolist()
        for name, mean in zip(self.parts, means, strict=True):
            self.log(f"dev_{name}", mean)
        mel = self.model.config.mel
        self.log("dev_duration_ms", error * 1000 * mel.hop / mel.sample_rate)
        self.log("dev_length_ratio", length_ratio)

    def transfer_batch_to_device(self, batch: ASRBatch, device: torch.device, dataloader_idx: int) -> ASRBatch:
        return batch.to(device)

    def configure_optimizers(self):
        optimizer, schedule = make_optimizer(self.model, self.recipe.optim, self.recipe.train.max_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
