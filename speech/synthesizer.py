"""A voice folder that speaks, by torch."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from speech.models.fastspeech import FastSpeech
from speech.models.griffin_lim import GriffinLim
from speech.models.transformer_tts import TransformerTTS
from speech.models.tts_generate import generate
from speech.reading import Reading
from speech.recognizer import pick_device
from speech.talker import Manner, Spoken, Talker, without_end
from speech.voice_folder import load_voice


class Synthesizer(Talker):
    """The voice of a folder."""

    def __init__(self, folder: str | Path, device: str = "auto"):
        self.device = pick_device(device)
        voice = load_voice(folder)
        super().__init__(voice.parts)
        self.model, self.generation = voice.model.to(self.device), voice.generation
        self.config = self.model.config.mel
        self.sample_rate = self.config.sample_rate
        self.vocoder = (voice.vocoder or GriffinLim(self.config)).to(self.device)
        self.controls = self.model.config.controls if isinstance(self.model, FastSpeech) else []

    @torch.inference_mode()
    def _say(self, reading: Reading, speaker: int, language: int, manner: Manner) -> Spoken:
        ids = torch.tensor([reading.ids], device=self.device)
        who = torch.tensor([speaker], device=self.device)
        if isinstance(self.model, FastSpeech):
            frames, mel = self._in_one_pass(self.model, reading, ids, who, language, manner)
        else:
            frames, mel = None, self._frame_by_frame(self.model, reading, ids, who)
        mel = self.model.denormalize(mel)
        waveform = (self.vocoder(mel[None])[0] * manner.volume).clamp(-1, 1).cpu().numpy()
        return Spoken(**vars(reading), frames=frames, mel=mel.cpu().numpy(), waveform=waveform)

    def _in_one_pass(
        self, model: FastSpeech, reading: Reading, ids: Tensor, speaker: Tensor, language: int, manner: Manner
    ) -> tuple[np.ndarray, Tensor]:
        """Frames of each id, and the normalised mel [T, F]."""
        pauses = torch.tensor([reading.silent], device=self.device)
        out = model.synthesize(
            ids,
            torch.tensor([ids.size(1)], device=self.device),
            speaker,
            torch.tensor([language], device=self.device),
            manner.length_scale,
            manner.pitch_scale,
            manner.energy_scale,
            torch.where(pauses, manner.pause_scale, 1.0),
            torch.tensor([reading.given_frames(self.sample_rate, self.config.hop)], device=self.device),
        )
        return out.durations[0].cpu().numpy(), out.mel[0]

    def _frame_by_frame(self, model: TransformerTTS, reading: Reading, ids: Tensor, speaker: Tensor) -> Tensor:
        expected = float(model.frames_per_phoneme) * ids.size(1)
        lengths = torch.tensor([ids.size(1)], device=self.device)
        (found,) = generate(model, ids, lengths, [expected], self.generation, speaker)
        if not found.ended:
            raise without_end(reading, len(found.mel), self.generation.max_times_expected)
        return found.mel
