"""FastSpeech (arXiv 1905.09263): phonemes to mel in one pass, with predicted durations, pitch and energy if asked."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from speech.errors import SpeechError
from speech.models.fft_block import FFTStack
from speech.models.length_regulator import regulate, scaled_durations, whole_durations
from speech.models.variance import Predictor, ValueEmbedding
from speech.nn.masks import valid
from speech.nn.tts_config import FastSpeechConfig

MAX_PHONEME_FRAMES = 2000.0  # 23 s at 86 frames a second: an untrained predictor must not ask for hours


class Predicted(NamedTuple):
    """[B, N] each, 0 on padding; None where the model has no such predictor."""

    log_durations: Tensor
    pitch: Tensor | None
    voicing: Tensor | None  # logit
    energy: Tensor | None


class FastSpeechOut(NamedTuple):
    mel: Tensor  # [B, T, F] normalised log-mel; `FastSpeech.denormalize` undoes it
    mel_lengths: Tensor  # [B] frames
    durations: Tensor  # [B, N] frames of each phoneme in `mel`
    log_durations: Tensor  # [B, N] predicted, as the next three
    pitch: Tensor | None
    voicing: Tensor | None
    energy: Tensor | None


class FastSpeech(nn.Module):
    """Pitch is the mean log F0 over the voiced frames of a phoneme, normalised over all that have one; exactly 0 tells
    a phoneme without. Energy is the mean log energy of its frames, normalised.

    Buffers: mean and deviation of the log-mels per bin, deviations of log pitch and log energy, and `duration_gain`:
    true frames / frames of exp(log_durations) on a dev set. exp of a mean logarithm falls short of the mean.
    """

    mel_mean: Tensor
    mel_std: Tensor
    pitch_std: Tensor
    energy_std: Tensor
    duration_gain: Tensor

    def __init__(self, config: FastSpeechConfig, n_symbols: int):
        super().__init__()
        self.config, d = config, config.d_model
        self.embed = nn.Embedding(n_symbols, d)
        self.encoder = FFTStack(config, config.encoder_layers)
        self.speaker = nn.Embedding(config.n_speakers, d) if config.n_speakers > 1 else None
        self.language = nn.Embedding(config.n_languages, d) if config.n_languages > 1 else None
        self.duration = Predictor(config)
        self.pitch = Predictor(config, 2) if config.pitch else None
        self.pitch_embed = ValueEmbedding(d) if config.pitch else None
        self.energy = Predictor(config) if config.energy else None
        self.energy_embed = ValueEmbedding(d) if config.energy else None
        self.decoder = FFTStack(config, config.decoder_layers)
        self.out = nn.Linear(d, config.mel.n_mels)
        self.register_buffer("mel_mean", torch.zeros(config.mel.n_mels))
        self.register_buffer("mel_std", torch.ones(config.mel.n_mels))
        for name in ("pitch_std", "energy_std", "duration_gain"):
            self.register_buffer(name, torch.ones(()))
        init_weights(self)

    def normalize(self, log_mel: Tensor) -> Tensor:
        return (log_mel - self.mel_mean) / self.mel_std

    def denormalize(self, mel: Tensor) -> Tensor:
        return mel * self.mel_std + self.mel_mean

    def forward(
        self,
        phonemes: Tensor,
        phoneme_lengths: Tensor,
        durations: Tensor,
        pitch: Tensor | None = None,
        energy: Tensor | None = None,
        speaker: Tensor | None = None,
        language: Tensor | None = None,
        guess: Tensor | None = None,
    ) -> FastSpeechOut:
        """With true durations [B, N], pitch and energy [B, N] for a model that has them; all 0 on padding. Rows where
        `guess` [B, 1] is True sound by the predicted pitch and energy instead."""
        x, predicted = self._encode(phonemes, phoneme_lengths, speaker, language)
        if guess is not None and pitch is not None and predicted.pitch is not None and predicted.voicing is not None:
            pitch = torch.where(guess, predicted.pitch.detach() * (predicted.voicing > 0), pitch)
        if guess is not None and energy is not None and predicted.energy is not None:
            energy = torch.where(guess, predicted.energy.detach(), energy)
        mel, mel_lengths = self._decode(x, durations, pitch, energy)
        return FastSpeechOut(mel, mel_lengths, durations, *predicted)

    def synthesize(
        self,
        phonemes: Tensor,
        phoneme_lengths: Tensor,
        speaker: Tensor | None = None,
        language: Tensor | None = None,
        length_scale: float | Tensor = 1.0,
        pitch_scale: float | Tensor = 1.0,
        energy_scale: float | Tensor = 1.0,
        duration_scale: Tensor | None = None,
        given_durations: Tensor | None = None,
    ) -> FastSpeechOut:
        """With predicted values, pitch 0 where unvoiced. length_scale above 1 is slower; pitch and energy scales are
        ratios of Hz and of energy, without effect where the model predicts none. All are above 0. duration_scale [B, N]
        comes after length_scale and moves its phonemes alone: pauses grow, the rest stays. given_durations [B, N] stand
        where they are above 0. Every phoneme has at least one frame, and the total is the rounded sum of the
        predictions.
        """
        x, predicted = self._encode(phonemes, phoneme_lengths, speaker, language)
        keep = valid(phoneme_lengths, phonemes.size(1))
        frames = predicted.log_durations.float().exp().clamp_max(MAX_PHONEME_FRAMES) * self.duration_gain * length_scale
        durations = whole_durations(frames * keep)
        if duration_scale is not None:
            durations = scaled_durations(durations, duration_scale)
        if given_durations is not None:
            durations = torch.where(given_durations > 0, given_durations, durations)
        pitch = _scaled(predicted.pitch, pitch_scale, self.pitch_std)
        if pitch is not None and predicted.voicing is not None:
            pitch = pitch * (predicted.voicing > 0)  # padding has a logit of 0
        energy = _scaled(predicted.energy, energy_scale, self.energy_std)
        if energy is not None:
            energy = energy * keep
        mel, mel_lengths = self._decode(x, durations, pitch, energy)
        return FastSpeechOut(mel, mel_lengths, durations, *predicted._replace(pitch=pitch, energy=energy))

    def _encode(
        self, phonemes: Tensor, lengths: Tensor, speaker: Tensor | None, language: Tensor | None
    ) -> tuple[Tensor, Predicted]:
        """Phonemes [B, N] -> [B, N, C] and what is predicted from it."""
        x = self.encoder(self.embed(phonemes), lengths)
        for name, table, ids in (("speaker", self.speaker, speaker), ("language", self.language, language)):
            if table is not None:
                if ids is None:
                    raise SpeechError(f"this voice has {table.num_embeddings} {name}s: set {name} to one of them")
                x = x + table(ids)[:, None]
        keep = valid(lengths, phonemes.size(1))
        pitch, voicing = self.pitch(x, keep).unbind(-1) if self.pitch is not None else (None, None)
        energy = self.energy(x, keep)[..., 0] if self.energy is not None else None
        return x, Predicted(self.duration(x, keep)[..., 0], pitch, voicing, energy)

    def _decode(
        self, x: Tensor, durations: Tensor, pitch: Tensor | None, energy: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        for embed, values in ((self.pitch_embed, pitch), (self.energy_embed, energy)):
            assert (embed is None) == (values is None), "pitch or energy without its embedding, or the reverse"
            if embed is not None:
                x = x + embed(values)
        frames, lengths = regulate(x, durations)
        return self.out(self.decoder(frames, lengths)), lengths


def _scaled(values: Tensor | None, scale: float | Tensor, std: Tensor) -> Tensor | None:
    """Normalised logarithms moved by the logarithm of a ratio."""
    return None if values is None else values + (torch.as_tensor(scale).log() / std).to(values.dtype)


def init_weights(model: nn.Module) -> None:
    """Projections and convolutions keep torch's uniform init, so that residual branches start smaller than their trunk;
    biases are zero. Phonemes have the size of the sinusoids that are added to them; speakers start nearly alike."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d) and module.bias is not None:
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=1.0 if module is getattr(model, "embed", None) else 0.1)
