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
from speech.training.means import log_dev
from speech.training.optim import make_optimizer
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
        self.weight: Tensor | float = 0.0  # of the step so far, see `MeanGradient`

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
        guess = None
        if self.training and self.recipe.guess > 0:
            guess = torch.rand(len(who), 1, device=device) < self.recipe.guess
        out = self.model(batch.tokens, batch.token_lengths, pace, pitch, energy, who[:, 0], who[:, 1], guess)
        return fastspeech_loss(out._replace(durations=durations), mel, batch.token_lengths, pitch, energy)

    def training_step(self, batch: ASRBatch, _: int) -> dict[str, Tensor]:
        parts = self.losses(batch)
        n = parts.mel.weight
        told = (getattr(parts, name) for name in self.parts)
        means = torch.stack([total / weight.clamp_min(1) for total, weight in told]) * n
        loss = (means * self.part_weights.to(means)).sum()
        self.weight = self.weight + n
        return {"loss": loss, "sums": torch.cat([torch.stack([loss]), means, torch.stack([n])]).detach()}

    def validation_step(self, batch: ASRBatch, _: int) -> None:
        parts, mel = self.losses(batch), self.model.config.mel
        for name in self.parts:
            log_dev(self, name, getattr(parts, name))
        error, n = parts.duration_error
        log_dev(self, "duration_ms", (error * 1000 * mel.hop / mel.sample_rate, n))
        log_dev(self, "length_ratio", parts.frames)

    def configure_optimizers(self):
        return make_optimizer(self.model, self.recipe.optim, self.recipe.train.max_steps)
