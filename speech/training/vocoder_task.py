"""Lightning wiring of the vocoder."""

import lightning as L
import torch
from torch import Tensor

from speech.data.crops import CropBatch
from speech.models.discriminators import Discriminators
from speech.models.vocoder_losses import MultiResolutionSTFT, VocoderLoss, vocoder_loss
from speech.models.vocos import Vocos
from speech.training.means import log_dev
from speech.training.optim import make_optimizer
from speech.training.vocoder_config import VocoderRecipe


class VocoderTask(L.LightningModule):
    """First mel and STFT losses alone, then with the discriminators; sums are divided once by all crops of a step.

    The gradients of model and discriminators do not mix (see `vocoder_loss`), so that one backward pass and one AdamW
    are the two of a GAN, and accumulation, finite checks and resume are those of every other training.
    """

    parts = VocoderLoss._fields

    def __init__(self, model: Vocos, recipe: VocoderRecipe):
        super().__init__()
        self.model, self.recipe = model, recipe
        self.discriminators = Discriminators(recipe.gan.period_channels, recipe.gan.resolution_channels)
        self.stft = MultiResolutionSTFT()
        self.gan_from = round(recipe.gan.warmup_share * recipe.train.max_steps)
        self.weight: Tensor | float = 0.0  # crops of the step so far, see `MeanGradient`

    def training_step(self, batch: CropBatch, _: int) -> dict[str, Tensor]:
        gan = self.recipe.gan
        discriminators = self.discriminators if self.global_step >= self.gan_from else None
        losses = vocoder_loss(self.model, self.stft, discriminators, batch.waveforms, batch.mels)
        weights = (gan.mel_weight, gan.stft_weight, gan.adversarial_weight, gan.matching_weight, 1.0)
        loss = torch.stack([w * part for w, part in zip(weights, losses, strict=True)]).sum()
        crops = loss.new_tensor(float(len(batch.waveforms)))
        self.weight = self.weight + crops
        return {"loss": loss, "sums": torch.stack([loss, *losses, crops]).detach()}

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None) -> None:
        if gradient_clip_val:
            for part in (self.model, self.discriminators):
                torch.nn.utils.clip_grad_norm_(part.parameters(), gradient_clip_val)

    def validation_step(self, batch: CropBatch, _: int) -> None:
        losses = vocoder_loss(self.model, self.stft, None, batch.waveforms, batch.mels)
        samples = losses.mel.new_tensor(batch.waveforms.size(1))
        for name in ("mel", "stft"):
            log_dev(self, name, (getattr(losses, name) * samples, samples))

    def configure_optimizers(self):
        return make_optimizer(self, self.recipe.optim, self.recipe.train.max_steps)
