"""What a folder of exported graphs is: written by export/, read by serve/."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from speech.errors import SpeechError
from speech.text.files import read_object

FORMAT_VERSION = 2
PRECISIONS = {"32": "", "16": ".fp16", "bf16": ".bf16", "int8": ".int8"}  # endings of the graphs' names
ON_GPU = ("16", "bf16")  # no CPU has kernels for them


@dataclass
class AEDGraphs:
    """Settings of an exported recogniser. Its graphs: encoder, decoder, gather, and ctc or alignment."""

    vocab_size: int
    sample_rate: int
    hop: int
    """samples between frames of the front end"""
    first_frame: int
    """samples that have one"""
    subsampling: int
    """frames of the front end in one of the encoder"""
    max_tokens: int
    ctc: bool

    @property
    def made(self) -> tuple[str, ...]:
        """Graphs of the model; `gather` is the same for all."""
        return ("encoder", "decoder", "ctc" if self.ctc else "alignment")

    def frames(self, samples: int) -> int:
        """Frames of the front end."""
        return max(0, (samples - self.first_frame) // self.hop + 1)


@dataclass
class FastSpeechGraphs:
    """Settings of an exported FastSpeech. Its graph `voice` holds the vocoder too."""

    made = ("voice",)
    sample_rate: int
    hop: int
    """samples of a mel frame"""
    controls: list[str]
    """scales that the voice obeys"""


@dataclass
class TransformerTTSGraphs:
    """Settings of an exported Transformer TTS. Its graph `vocoder` begins with the post-net."""

    made = ("encoder", "decoder", "vocoder")
    sample_rate: int
    n_mels: int
    frames_per_phoneme: float
    reduction: int
    """mel frames of a step"""
    prenet_width: int
    prenet_dropout: float


Settings = TypeVar("Settings", bound=AEDGraphs | FastSpeechGraphs | TransformerTTSGraphs)


def label(path: Path) -> dict[str, str]:
    """What a graph says of itself in its metadata."""
    return {"graph": path.name.partition(".")[0], "onnx_format": str(FORMAT_VERSION)}


def held(folder: Path, name: str = "encoder") -> list[str]:
    """The precisions in which a folder holds a graph."""
    return [one for one, end in PRECISIONS.items() if (folder / f"{name}{end}.onnx").is_file()]


def graph_path(folder: Path, name: str, precision: str) -> Path:
    """SpeechError for a precision that the folder does not hold."""
    if precision not in PRECISIONS:
        raise SpeechError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
    path = folder / f"{name}{PRECISIONS[precision]}.onnx"
    if not path.is_file():
        there = ", ".join(held(folder, name)) or "none"
        raise SpeechError(f"{path} is missing: {folder} holds {name} in precision {there}")
    return path


def write_settings(folder: Path, kind: str, settings: AEDGraphs | FastSpeechGraphs | TransformerTTSGraphs) -> None:
    values = {"model_type": kind, "onnx_format": FORMAT_VERSION, **asdict(settings)}
    (folder / "config.json").write_text(json.dumps(values, indent=1) + "\n")


def read_settings(folder: Path, kind: str, made: type[Settings]) -> Settings:
    """SpeechError where config.json is missing, broken or of another kind or version."""
    values = read_json(folder / "config.json")
    if (values.pop("model_type", None), values.pop("onnx_format", None)) != (kind, FORMAT_VERSION):
        raise SpeechError(f"{folder}: config.json is not of an exported {kind} in format {FORMAT_VERSION}: export anew")
    try:
        return made(**values)
    except TypeError as error:
        raise SpeechError(f"{folder}: config.json: {error}") from None


def read_json(path: Path) -> dict[str, Any]:
    return read_object(path.parent, path.name)


def is_voice(folder: Path) -> bool:
    """Whether a model folder, exported or not, speaks. SpeechError where it has no config.json."""
    return read_json(folder / "config.json").get("model_type") in ("fastspeech", "transformer_tts")
