"""A voice folder that speaks, by torch."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from speech.models.fastspeech import FastSpeech
from speech.models.griffin_lim import GriffinLim
from speech.models.tts_generate import Generated, generate
from speech.reading import Reading
from speech.recognizer import pick_device
from speech.talker import Manner, Spoken, Talker, without_end
from speech.voice_folder import load_voice


class Drawn(NamedTuple):
    """A sentence before its vocoder."""

    mel: Tensor  # [T, F] natural log
    frames: np.ndarray | None  # [N + 2] of each id, by a FastSpeech
    generated: Generated | None  # by a Transformer TTS


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
        drawn = self.draw(reading, speaker, language, manner)
        if drawn.generated and not drawn.generated.ended:
            raise without_end(reading, len(drawn.mel), self.generation.max_times_expected)
        waveform = (self.vocoder(drawn.mel[None])[0] * manner.volume).clamp(-1, 1).cpu().numpy()
        return Spoken(**vars(reading), frames=drawn.frames, mel=drawn.mel.cpu().numpy(), waveform=waveform)

    @torch.inference_mode()
    def draw(self, reading: Reading, speaker: int, language: int, manner: Manner) -> Drawn:
        """A Transformer TTS without an end is cut at its longest mel, and has no language and no manner."""
        numbers = (reading.ids, len(reading.ids), speaker, language)
        ids, lengths, speakers, languages = (torch.tensor([x], device=self.device) for x in numbers)
        if not isinstance(self.model, FastSpeech):
            expected = float(self.model.frames_per_phoneme) * ids.size(1)
            (found,) = generate(self.model, ids, lengths, [expected], self.generation, speakers)
            return Drawn(self.model.denormalize(found.mel), None, found)
        pauses = torch.tensor([reading.silent], device=self.device)
        out = self.model.synthesize(
            ids,
            lengths,
            speakers,
            languages,
            manner.length_scale,
            manner.pitch_scale,
            manner.energy_scale,
            torch.where(pauses, manner.pause_scale, 1.0),
            torch.tensor([reading.given_frames(self.sample_rate, self.config.hop)], device=self.device),
        )
        return Drawn(self.model.denormalize(out.mel[0]), out.durations[0].cpu().numpy(), None)
