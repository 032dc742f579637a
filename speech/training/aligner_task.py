"""Lightning wiring of the aligner."""

from collections.abc import Sequence
from pathlib import Path

import lightning as L
import torch
from torch import Tensor

from speech.data.asr import ASRBatch
from speech.models.aligner import Aligner, binarisation_loss, focus, forward_sum_loss, hard_durations
from speech.models.length_regulator import phoneme_of_frames
from speech.models.voice_sound import VoiceSound
from speech.nn.masks import valid
from speech.training.means import log_dev
from speech.training.optim import make_optimizer
from speech.training.plots import plot_alignment
from speech.training.voice_config import AlignerRecipe


class AlignerTask(L.LightningModule):
    """Forward-sum loss per phoneme; after a while the negative log probability of the hard path is added, per frame.

    On dev, of the frames: focus_rate is the mean weight of the likeliest phoneme; agreement the share whose likeliest
    phoneme is at most one from the hard path; path_equality the share where that path needs no prior. All three near 1
    tell an alignment, one alone does not. The first utterance is drawn to `<out>/alignment.png`.
    """

    parts = ("forward_sum", "binarisation")

    def __init__(self, model: Aligner, sound: VoiceSound, symbols: Sequence[str], recipe: AlignerRecipe):
        super().__init__()
        self.model, self.sound, self.symbols, self.recipe = model, sound, symbols, recipe
        self.weight: Tensor | float = 0.0  # of the step so far, see `MeanGradient`

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
        self.weight = self.weight + n
        return {"loss": total + hard, "sums": torch.stack([total + hard, total, hard, n]).detach()}

    def validation_step(self, batch: ASRBatch, batch_idx: int) -> None:
        scores, frames = self.scores(batch)
        log_dev(self, "forward_sum", forward_sum_loss(scores, frames, batch.token_lengths))
        durations = hard_durations(scores, frames, batch.token_lengths)
        plain = hard_durations(self.scores(batch, prior=False)[0], frames, batch.token_lengths)
        path, other = (phoneme_of_frames(d, scores.size(1)) for d in (durations, plain))
        near = (scores.argmax(-1) - path).abs() <= 1
        keep = valid(frames, scores.size(1))
        for name, found in ("focus_rate", focus(scores)), ("agreement", near), ("path_equality", path == other):
            log_dev(self, name, ((found * keep).sum(), frames.sum()))
        if batch_idx == 0 and self.trainer.is_global_zero:
            self._draw(batch, scores[0, : frames[0]], durations[0])

    def _draw(self, batch: ASRBatch, scores: Tensor, durations: Tensor) -> None:
        n = int(batch.token_lengths[0])
        mel = self.sound(batch.waveforms[:1], batch.waveform_lengths[:1])[0][0, : len(scores)]
        soft = scores.log_softmax(-1).exp()[:, :n]
        attention, mel, path = (x.float().cpu().numpy() for x in (soft, mel, durations[:n]))
        symbols = [self.symbols[int(i)] for i in batch.tokens[0, :n]]
        title = f"{batch.ids[0]}, step {self.global_step}"
        plot_alignment(Path(self.recipe.train.out) / "alignment.png", attention, symbols, mel, path.astype(int), title)

    def configure_optimizers(self):
        return make_optimizer(self.model, self.recipe.optim, self.recipe.train.max_steps)
