"""A voice folder that speaks, by torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from speech.errors import SpeechError
from speech.models.griffin_lim import GriffinLim
from speech.recognizer import pick_device
from speech.text.phonemes import BLANK, MARKS
from speech.text.sentences import sentences
from speech.voice_folder import load_voice

SCALES = (0.25, 4.0)  # of lengths; outside of it nobody understands


@dataclass(frozen=True)
class Manner:
    """How a text is spoken; 1 is as the voice was recorded."""

    length_scale: float = 1.0
    """above 1 is slower"""
    pause_scale: float = 1.0
    """of the pauses between words and at punctuation alone"""
    sentence_silence: float = 0.2
    """seconds between sentences"""
    volume: float = 1.0

    def __post_init__(self) -> None:
        for name in ("length_scale", "pause_scale"):
            if not SCALES[0] <= getattr(self, name) <= SCALES[1]:
                raise SpeechError(f"{name} {getattr(self, name):g} is outside {SCALES[0]:g} ... {SCALES[1]:g}")
        if not 0 <= self.sentence_silence <= 10:
            raise SpeechError(f"sentence_silence {self.sentence_silence:g} s is outside 0 ... 10 s")
        if not 0 <= self.volume <= 10:
            raise SpeechError(f"volume {self.volume:g} is outside 0 ... 10")


@dataclass(frozen=True)
class Spoken:
    """A sentence."""

    text: str
    phonemes: list[str]
    frames: np.ndarray  # [N + 2] mel frames of the start, each phoneme and the end
    mel: np.ndarray  # [T, F] natural log
    waveform: np.ndarray  # [samples] in [-1, 1]
    dropped: list[str]
    """characters that have no sound here"""


class Synthesizer:
    """Sentence by sentence, so that memory holds the longest sentence of a text and not all of it."""

    def __init__(self, folder: str | Path, device: str = "auto"):
        self.device = pick_device(device)
        self.voice = load_voice(folder)
        self.model = self.voice.model.to(self.device)
        self.config = self.model.config.mel
        self.sample_rate = self.config.sample_rate
        vocoder = self.voice.vocoder if self.voice.vocoder is not None else GriffinLim(self.config)
        self.vocoder = vocoder.to(self.device)

    def phonemes(self, text: str) -> tuple[list[str], list[str]]:
        """Of one sentence, and the characters that were left out. SpeechError for a text without words."""
        said = self.voice.phonemizer.spoken(text)
        return self.voice.phonemizer(said.text), said.dropped

    def speak(self, text: str, manner: Manner = Manner()) -> Iterator[Spoken]:  # noqa: B008 - frozen
        """The sentences of a text, as they are ready. SpeechError for a text with nothing to say."""
        for sentence in sentences(text, self.voice.phonemizer.language):
            yield self._say(sentence, manner)

    @torch.inference_mode()
    def _say(self, text: str, manner: Manner) -> Spoken:
        tokens, dropped = self.phonemes(text)
        tokenizer = self.voice.tokenizer
        ids = torch.tensor([[tokenizer.bos_id, *tokenizer.table.encode(tokens), tokenizer.eos_id]], device=self.device)
        pauses = [1.0, *(manner.pause_scale if t == BLANK or t in MARKS else 1.0 for t in tokens), 1.0]
        out = self.model.synthesize(
            ids,
            torch.tensor([ids.size(1)], device=self.device),
            length_scale=manner.length_scale,
            duration_scale=torch.tensor([pauses], device=self.device) if manner.pause_scale != 1 else None,
        )
        mel = self.model.denormalize(out.mel)
        waveform = (self.vocoder(mel)[0] * manner.volume).clamp(-1, 1).cpu().numpy()
        return Spoken(text, tokens, out.durations[0].cpu().numpy(), mel[0].cpu().numpy(), waveform, dropped)

    def waveform(self, text: str, manner: Manner = Manner()) -> tuple[np.ndarray, list[str]]:  # noqa: B008 - frozen
        """[samples] of a whole text, and the characters that have no sound."""
        silence = np.zeros(round(manner.sentence_silence * self.sample_rate), np.float32)
        parts: list[np.ndarray] = []
        dropped: list[str] = []
        for said in self.speak(text, manner):
            parts += [silence, said.waveform] if parts else [said.waveform]
            dropped += said.dropped
        return np.concatenate(parts), dropped


def load_synthesizer(folder: str | Path, device: str = "auto") -> Synthesizer:
    """The voice of a folder."""
    return Synthesizer(folder, device)
