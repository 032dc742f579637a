"""What a folder of exported graphs is: written by export/, read by serve/."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from speech.errors import SpeechError

FORMAT_VERSION = 1
PRECISIONS = {"32": "", "16": ".fp16", "bf16": ".bf16", "int8": ".int8"}  # endings of the graphs' names


@dataclass
class AEDGraphs:
    """Settings of an exported recogniser. Its graphs: encoder, decoder, gather and perhaps ctc."""

    vocab_size: int
    sample_rate: int
    hop: int
    """samples between frames of the front end"""
    first_frame: int
    """samples that have one"""
    subsampling: int
    """frames of the front end in one of the encoder"""
    heads: int
    head_size: int
    """of the decoder's caches"""
    max_tokens: int
    ctc: bool

    def frames(self, samples: int) -> int:
        """Frames of the front end."""
        return max(0, (samples - self.first_frame) // self.hop + 1)


def graph_path(folder: Path, name: str, precision: str) -> Path:
    """SpeechError for a precision that the folder does not hold."""
    if precision not in PRECISIONS:
        raise SpeechError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
    path = folder / f"{name}{PRECISIONS[precision]}.onnx"
    if not path.is_file():
        there = [one for one, end in PRECISIONS.items() if (folder / f"{name}{end}.onnx").is_file()]
        raise SpeechError(f"{path} is missing: {folder} holds {name} in precision {', '.join(there) or 'none'}")
    return path


def write_settings(folder: Path, kind: str, settings: AEDGraphs) -> None:
    values = {"model_type": kind, "onnx_format": FORMAT_VERSION, **asdict(settings)}
    (folder / "config.json").write_text(json.dumps(values, indent=1) + "\n")


def read_settings(folder: Path, kind: str, made: type[AEDGraphs]) -> AEDGraphs:
    """SpeechError where config.json is missing, broken or of another kind or version."""
    values = read_json(folder / "config.json")
    if (values.pop("model_type", None), values.pop("onnx_format", None)) != (kind, FORMAT_VERSION):
        raise SpeechError(f"{folder}: config.json is not of an exported {kind} in format {FORMAT_VERSION}: export anew")
    try:
        return made(**values)
    except TypeError as error:
        raise SpeechError(f"{folder}: config.json: {error}") from None


def read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpeechError(f"{path} is missing: give a folder that `speech export` wrote") from None
    except (OSError, ValueError, RecursionError):
        raise SpeechError(f"{path} is not JSON: export the model anew") from None
    if not isinstance(values, dict):
        raise SpeechError(f"{path} is no JSON object: export the model anew")
    return values
