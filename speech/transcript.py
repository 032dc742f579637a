"""What a recogniser answers: finished values with whisper's keys, and their file formats."""

import json
import math
import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from speech.errors import SpeechError
from speech.subtitles import to_srt, to_tsv, to_txt, to_vtt


@dataclass(frozen=True)
class Word:
    word: str
    start: float
    end: float
    probability: float


@dataclass(frozen=True)
class Segment:
    """Times in seconds; seek is the start of the decoded window in frames of 10 ms."""

    id: int
    start: float
    end: float
    text: str
    tokens: list[int]
    avg_logprob: float
    compression_ratio: float
    seek: int = 0
    temperature: float = 0.0
    no_speech_prob: float = 0.0
    token_logprobs: list[float] = field(default_factory=list)  # of `tokens`, by the model alone
    doubts: list[str] = field(default_factory=list)  # of the piece, by whisper's thresholds and the CTC head
    words: list[Word] = field(default_factory=list)


@dataclass(frozen=True)
class Transcript:
    text: str
    segments: list[Segment]
    language: str
    duration: float

    @property
    def words(self) -> list[Word]:
        return [word for segment in self.segments for word in segment.words]

    @property
    def confidence(self) -> float:
        """Mean probability of the tokens, as FireRedASR2S counts it; 0 where there are none."""
        probabilities = [math.exp(x) for segment in self.segments for x in segment.token_logprobs]
        return sum(probabilities) / len(probabilities) if probabilities else 0.0

    def to_dict(self) -> dict:
        return {**asdict(self), "confidence": self.confidence}

    def render(self, format: str) -> str:
        if format not in WRITERS:
            raise SpeechError(f"output format {format!r} is unknown; there are {', '.join(WRITERS)}")
        return WRITERS[format](self)

    def save(self, path: str | Path, format: str) -> None:
        """Written aside, then renamed: the file is whole or not there. SpeechError when it cannot be written."""
        data, path = self.render(format).encode(), Path(path)
        aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            aside.write_bytes(data)
            os.replace(aside, path)
        except OSError as error:
            raise SpeechError(f"{path}: cannot be written ({error.strerror})") from None
        finally:
            with suppress(OSError):
                aside.unlink()


def compression_ratio(text: str) -> float:
    """Bytes per zlib byte: above 2.4 whisper calls a text a loop."""
    raw = text.encode("utf-8")
    return len(raw) / len(zlib.compress(raw)) if raw else 0.0


WRITERS: dict[str, Callable[[Transcript], str]] = {
    "txt": lambda transcript: to_txt(transcript.segments),
    "vtt": lambda transcript: to_vtt(transcript.segments),
    "srt": lambda transcript: to_srt(transcript.segments),
    "tsv": lambda transcript: to_tsv(transcript.segments),
    "json": lambda transcript: json.dumps(transcript.to_dict(), ensure_ascii=False) + "\n",
}
