"""Model folders by what they are: of torch, or exported, which then run without torch."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speech.talker import Talker
    from speech.transcriber import Transcriber


def open_recognizer(folder: str | Path, device: str = "auto", precision: str = "32", threads: int = 0) -> "Transcriber":
    """SpeechError for a folder that is no recogniser; threads of the CPU, 0 is the engine's choice."""
    if exported(folder):
        from serve.transcriber import OnnxTranscriber

        return OnnxTranscriber(folder, device, precision, threads)
    from speech.recognizer import Recognizer

    _torch_threads(threads)
    return Recognizer(folder, device, precision)


def open_synthesizer(folder: str | Path, device: str = "auto", precision: str = "32", threads: int = 0) -> "Talker":
    """SpeechError for a folder that is no voice; threads of the CPU, 0 is the engine's choice."""
    if exported(folder):
        from serve.synthesizer import OnnxSynthesizer

        return OnnxSynthesizer(folder, device, precision, threads)
    from speech.errors import SpeechError
    from speech.synthesizer import Synthesizer

    if precision != "32":
        raise SpeechError(f"precision {precision}: {folder} speaks in 32; export it for others")
    _torch_threads(threads)
    return Synthesizer(folder, device)


def exported(folder: str | Path) -> bool:
    """Whether its config.json is that of graphs. False for what is no model at all."""
    try:
        config = json.loads((Path(folder) / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(config, dict) and "onnx_format" in config


def _torch_threads(threads: int) -> None:
    import torch

    if threads > 0:
        torch.set_num_threads(threads)
