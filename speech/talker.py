"""Texts of any length to sound, whatever runs the model: numpy only."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from speech.errors import SpeechError
from speech.reading import Reading, read
from speech.text.spoken import shown
from speech.voice_parts import VoiceParts

GENERATION = "generation_config.json"  # of voices that speak frame by frame
# outside of these nobody understands
LIMITS = {
    "length_scale": (0.25, 4.0),
    "pause_scale": (0.25, 4.0),
    "pitch_scale": (0.5, 2.0),
    "energy_scale": (0.1, 10.0),
}


@dataclass(frozen=True)
class Manner:
    """Who speaks, and how; the scale 1 is as the voice was recorded."""

    length_scale: float = 1.0  # above 1 is slower
    pause_scale: float = 1.0  # of the pauses between words and at punctuation alone
    pitch_scale: float = 1.0  # ratio of Hz
    energy_scale: float = 1.0  # ratio of energy
    speaker: str | None = None  # None where the voice has one
    language: str | None = None  # None is the first of the voice
    sentence_silence: float = 0.2  # seconds between sentences
    volume: float = 1.0

    def __post_init__(self) -> None:
        for name, (low, high) in {**LIMITS, "sentence_silence": (0, 10), "volume": (0, 10)}.items():
            if not low <= getattr(self, name) <= high:
                raise SpeechError(f"{name} {getattr(self, name):g} is outside {low:g} ... {high:g}")


@dataclass(frozen=True)
class Spoken(Reading):
    """A sentence with its sound."""

    frames: np.ndarray | None  # [N + 2] mel frames of each id; None where the voice does not know
    mel: np.ndarray  # [T, F] natural log
    waveform: np.ndarray  # [samples] in [-1, 1]


def without_end(reading: Reading, frames: int, times: float) -> SpeechError:
    return SpeechError(
        f"'{shown(reading.text)}' did not end within {frames} mel frames, {times:g} times what its phonemes take; "
        f"shorten the sentence or raise max_times_expected in {GENERATION}"
    )


class Talker(ABC):
    """Sentence by sentence, so that memory holds the longest sentence of a text and not all of it."""

    sample_rate: int
    controls: Collection[str]  # scales that the voice obeys

    def __init__(self, parts: VoiceParts):
        self.parts = parts

    @abstractmethod
    def _say(self, reading: Reading, speaker: int, language: int, manner: Manner) -> Spoken: ...

    def check(self, manner: Manner) -> tuple[int, int]:
        """Ids of speaker and language. SpeechError for what this voice cannot do."""
        for name in LIMITS:
            if getattr(manner, name) != 1 and name not in self.controls:
                there = ", ".join(self.controls) or "none of the scales"
                raise SpeechError(f"{name} {getattr(manner, name):g}: the voice has {there}; leave it at 1")
        return self.parts.speaker_id(manner.speaker), self.parts.phonemizer(manner.language)[0]

    def speak(self, text: str, manner: Manner = Manner()) -> Iterator[Spoken]:  # noqa: B008  (frozen)
        """The sentences of a text, as they are ready. What is wrong with the text is told before the first one."""
        speaker, language = self.check(manner)
        readings = read(text, self.parts, manner.language)
        if "pause_scale" not in self.controls and any(reading.pauses for reading in readings):
            raise SpeechError("the voice makes its own pauses: leave those in [[ ]] out of the text")
        return (self._say(reading, speaker, language, manner) for reading in readings)

    def stream(self, text: str, manner: Manner = Manner()) -> Iterator[tuple[np.ndarray, list[str]]]:  # noqa: B008
        """[samples] as they are ready, with the silence between sentences, and the characters that have no sound."""
        silence = np.zeros(round(manner.sentence_silence * self.sample_rate), np.float32)
        for i, said in enumerate(self.speak(text, manner)):
            yield np.concatenate([silence, said.waveform]) if i else said.waveform, said.dropped

    def waveform(self, text: str, manner: Manner = Manner()) -> tuple[np.ndarray, list[str]]:  # noqa: B008
        """[samples] of a whole text, and the characters that have no sound, once each."""
        pieces, dropped = zip(*self.stream(text, manner), strict=True)
        return np.concatenate(pieces), list(dict.fromkeys(chain.from_iterable(dropped)))
