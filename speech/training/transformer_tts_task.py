"""Lightning wiring of the Transformer TTS."""

from collections.abc import Mapping
from pathlib import Path

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from speech.data.asr import ASRBatch
from speech.errors import DataError, SpeechError
from speech.models.transformer_tts import TransformerTTS, TransformerTTSOut
from speech.models.transformer_tts_losses import (
    TransformerTTSLoss,
    agreement,
    focus_rates,
    guided_weight,
    transformer_tts_loss,
)
from speech.models.voice_sound import VoiceSound
from speech.nn.transformer_tts_config import resolve_heads
from speech.text.phoneme_tokenizer import PhonemeTokenizer
from speech.training.means import log_dev
from speech.training.optim import make_optimizer
from speech.training.plots import plot_alignment
from speech.training.voice_config import TransformerTTSRecipe

PARTS = ("before", "after", "stop", "guided", "supervised")


class TransformerTTSTask(L.LightningModule):
    """L1 of the mels per frame, the stop and the aligner's path per step, attention off the diagonal per cell.

    The focus rate of the guided heads, a running mean that the checkpoint keeps, decides the weight of guidance.
    """

    focus: Tensor

    def __init__(
        self,
        model: TransformerTTS,
        sound: VoiceSound,
        durations: Mapping[str, np.ndarray] | None,
        identities: Mapping[str, tuple[int, int]],
        tokenizer: PhonemeTokenizer,
        recipe: TransformerTTSRecipe,
    ):
        """durations [N], and speakers as the first of `identities`, by the ids of the cuts."""
        super().__init__()
        self.model, self.sound, self.recipe = model, sound, recipe
        self.durations, self.identities, self.tokenizer = durations, identities, tokenizer
        self.taught = durations is not None and recipe.loss.supervised_weight > 0
        self.parts = PARTS[: 5 if self.taught else 4]
        self.weight: Tensor | float = 0.0  # of the step so far, see `MeanGradient`
        self.register_buffer("focus", torch.zeros(()))

    def path(self, batch: ASRBatch, frames: Tensor) -> Tensor | None:
        """Durations [B, N]."""
        if self.durations is None:
            return None
        found = pad_sequence([torch.from_numpy(self.durations[i]) for i in batch.ids], batch_first=True)
        found = found.to(frames.device)
        if found.shape != batch.tokens.shape or not torch.equal(found.sum(1), frames):
            raise DataError(f"durations of {', '.join(batch.ids)} do not fit: let the aligner write them anew")
        return found

    def losses(self, batch: ASRBatch) -> tuple[TransformerTTSLoss, TransformerTTSOut, Tensor, Tensor, Tensor | None]:
        """Losses, and what they are of: output, mel [B, T, F], its lengths, durations."""
        mel, frames = self.sound(batch.waveforms, batch.waveform_lengths)
        path, r = self.path(batch, frames), self.model.config.reduction
        keep = None if self.training else self.model.dropout_keep(-(-mel.size(1) // r), 0)  # as it will speak
        speaker = torch.tensor([self.identities.get(i, (0, 0))[0] for i in batch.ids], device=mel.device)
        out = self.model(batch.tokens, batch.token_lengths, mel, frames, speaker, keep)
        told = path if self.taught else None
        loss = transformer_tts_loss(out, mel, frames, batch.token_lengths, r, self.recipe.loss, told)
        return loss, out, mel, frames, path

    def training_step(self, batch: ASRBatch, _: int) -> dict[str, Tensor]:
        found = self.losses(batch)[0]
        n = found.before.weight
        parts = torch.stack([total / weight * n for total, weight in found[: len(self.parts)]])  # type: ignore
        config = self.recipe.loss
        weights = [1.0, 1.0, 1.0, guided_weight(config, float(self.focus)), config.supervised_weight]
        loss = (parts * parts.new_tensor(weights[: len(parts)])).sum()
        self.focus.lerp_(found.focus.total / found.focus.weight, 0.02)
        self.weight = self.weight + n
        return {"loss": loss, "sums": torch.cat([loss[None], parts, n[None]]).detach()}

    def on_validation_epoch_start(self) -> None:
        heads = (2, self.model.config.decoder_layers, self.model.config.n_heads)
        self.heads = torch.zeros(heads, dtype=torch.float64, device=self.device)  # focus rates, frames that agree
        self.counts = self.heads.new_zeros(2, 1, 1)  # rows, frames
        self.shown: tuple | None = None

    def validation_step(self, batch: ASRBatch, _: int) -> None:
        found, out, mel, frames, path = self.losses(batch)
        r = self.model.config.reduction
        for name in self.parts:
            log_dev(self, name, getattr(found, name))
        self.heads[0] += focus_rates(out.attention, -(-frames // r)).sum(0)
        if path is not None:
            self.heads[1] += agreement(out.attention, path, frames, r)
        self.counts += torch.stack([frames.new_tensor(len(frames)), frames.sum()])[:, None, None]
        if self.shown is None:
            t, n = int(frames[0]), int(batch.token_lengths[0])
            attention = torch.stack([a[0, :, :, :n] for a in out.attention]).repeat_interleave(r, 2)[:, :, :t]
            self.shown = batch.ids[0], attention, batch.tokens[0, :n], mel[0, :t], None if path is None else path[0, :n]

    def on_validation_epoch_end(self) -> None:
        heads, counts = (self.trainer.strategy.reduce(sums, reduce_op="sum") for sums in (self.heads, self.counts))
        shares = heads / counts
        self.measured = {"focus": float(shares[0].max())}
        if self.durations is not None:
            self.measured["agreement"] = float(shares[1].max())
        for name, value in self.measured.items():
            self.log(f"dev_{name}", value)
        if self.taught:
            ((layer, head),) = resolve_heads("supervised_head", (self.recipe.loss.supervised_head,), *shares.shape[1:])
            self.log("dev_agreement_supervised", float(shares[1, layer, head]))
        best = int(shares[0 if self.durations is None else 1].argmax())
        self.draw(*divmod(best, self.model.config.n_heads))

    def draw(self, layer: int, head: int) -> None:
        """`<out>/alignment.png`: the head that is best on dev, for the first sentence."""
        if self.shown is None or not self.trainer.is_global_zero:
            return
        name, attention, tokens, mel, path = self.shown
        plot_alignment(
            Path(self.recipe.train.out) / "alignment.png",
            attention[layer, head].float().cpu().numpy(),
            [self.tokenizer.table.symbols[i] for i in tokens.tolist()],
            mel.cpu().numpy(),
            None if path is None else path.cpu().numpy(),
            f"{name}, step {self.trainer.global_step}, layer {layer} head {head}",
        )

    def on_validation_end(self) -> None:
        """After the log line and the picture."""
        recipe, step = self.recipe, self.trainer.global_step
        if step < recipe.diagonal_after_steps:
            return
        for name, value in self.measured.items():
            limit = getattr(recipe, f"diagonal_{name}")
            if value < limit:
                raise SpeechError(
                    f"no diagonal at step {step}: the best head's {name} on dev is {value:.3f}, below diagonal_{name} "
                    f"{limit:g}; see alignment.png in {recipe.train.out}. Give durations, raise loss.guided_weight, "
                    f"take shorter sentences first (data.short_epochs), or raise diagonal_after_steps "
                    f"{recipe.diagonal_after_steps} to go on"
                )

    def configure_optimizers(self):
        return make_optimizer(self.model, self.recipe.optim, self.recipe.train.max_steps)
