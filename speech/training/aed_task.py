"""Lightning wiring of the AED recogniser."""

import lightning as L
import torch
from torch import Tensor

from speech.data.asr import ASRBatch
from speech.data.augment import example_rng, spec_augment_masks
from speech.models.aed import AED
from speech.models.losses import AEDLoss, aed_loss
from speech.training.config import AEDRecipe
from speech.training.means import log_dev
from speech.training.optim import freeze, make_optimizer


class AEDTask(L.LightningModule):
    """Loss = ((1 - w) attention + w CTC), summed and divided once by the target tokens of all ranks and batches."""

    parts = ("attention", "ctc")

    def __init__(self, model: AED, recipe: AEDRecipe, blank: int):
        super().__init__()
        self.model, self.recipe, self.blank = model, recipe, blank
        self.weight: Tensor | float = 0.0  # target tokens of the step so far, see `MeanGradient`
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
        texts = batch.tokens, batch.token_lengths, batch.prompt_lengths
        if not augment:
            return aed_loss(self.model, features, lengths, *texts, 0.0, self.blank)
        train = self.recipe.train
        even = max(0.0, 1 - self.global_step / train.ctc_prior_steps) if train.ctc_prior_steps else 0.0
        return aed_loss(self.model, features, lengths, *texts, train.label_smoothing, self.blank, even)

    def training_step(self, batch: ASRBatch, _: int) -> dict[str, Tensor]:
        parts = self.losses(batch, augment=True)
        attention, n = parts.attention
        w, ctc = 0.0, torch.zeros_like(attention)
        if parts.ctc is not None:
            w, ctc = self.recipe.train.ctc_weight, parts.ctc.total
        loss = (1 - w) * attention + w * ctc
        self.weight = self.weight + n
        return {"loss": loss, "sums": torch.stack([loss, attention, ctc, n]).detach()}

    def validation_step(self, batch: ASRBatch, _: int) -> None:
        parts = self.losses(batch, augment=False)
        n = parts.attention.weight
        log_dev(self, "attention", parts.attention)
        if parts.ctc is not None:
            log_dev(self, "ctc", parts.ctc)
        log_dev(self, "error", (n - parts.correct, n))

    def configure_optimizers(self):
        return make_optimizer(self.model, self.recipe.optim, self.recipe.train.max_steps)
