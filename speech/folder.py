"""A model is a folder that explains itself: settings, safetensors weights, tokenizer, card. No recipe, no Lightning."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from speech.errors import SpeechError, one_line
from speech.generation import GenerationConfig
from speech.models.aed import AED, count_parameters
from speech.models.ctc import CTCModel
from speech.nn.config import AEDConfig
from speech.text.base import BaseTokenizer
from speech.text.load import load_tokenizer

FORMAT_VERSION = 1
Model = TypeVar("Model", bound=nn.Module)


def _card(config: AEDConfig, n_parameters: int, notes: str) -> str:
    f = config.frontend
    return (
        f"---\nlibrary_name: parlance-speech\npipeline_tag: automatic-speech-recognition\n---\n\n"
        f"# Attention encoder-decoder recogniser\n\n{n_parameters:,} parameters, {f.n_mels} {f.kind} bins at "
        f"{f.sample_rate} Hz.\n\n{notes}\n\n```bash\nspeech transcribe THIS_FOLDER audio.wav\n```\n"
    )


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def save_settings(
    folder: Path, head: dict[str, Any], config: dict[str, Any], features: dict[str, Any], model: nn.Module
) -> None:
    """config.json with head and config, preprocessor_config.json with features, and model.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "config.json", {**head, "format_version": FORMAT_VERSION, **config})
    _write_json(folder / "preprocessor_config.json", features)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "model.safetensors")


def save_weights(folder: Path, kind: str, model: AED | CTCModel) -> None:
    """config.json, preprocessor_config.json and model.safetensors of a recogniser."""
    config = model.config.to_dict()
    frontend = config.pop("frontend")
    save_settings(folder, {"model_type": kind, "vocab_size": model.vocab_size}, config, frontend, model)


def save_model(
    folder: str | Path, model: AED, tokenizer: BaseTokenizer, generation: GenerationConfig, notes: str = ""
) -> None:
    """Write the model folder."""
    folder = Path(folder)
    save_weights(folder, "aed", model)
    _write_json(folder / "generation_config.json", asdict(generation))
    tokenizer.save(folder)
    (folder / "README.md").write_text(_card(model.config, count_parameters(model), notes))


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    try:
        values = json.loads((folder / name).read_text())
    except FileNotFoundError:
        raise SpeechError(f"model folder {folder}: {name} is missing") from None
    except (OSError, ValueError) as error:
        raise SpeechError(f"model folder {folder}: {name} cannot be read: {error}") from None
    if not isinstance(values, dict):
        raise SpeechError(f"model folder {folder}: {name} is not a JSON object")
    return values


def load_settings(folder: Path, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What config.json and preprocessor_config.json hold, the former without its head but for a vocab_size."""
    if not folder.is_dir():
        raise SpeechError(f"model folder {folder} does not exist")
    config = _read_json(folder, "config.json")
    if config.pop("model_type", None) != kind or config.pop("format_version", None) != FORMAT_VERSION:
        raise SpeechError(f"model folder {folder}: config.json is not of model_type {kind} in format {FORMAT_VERSION}")
    return config, _read_json(folder, "preprocessor_config.json")


def load_config(folder: Path, kind: str) -> tuple[dict[str, Any], int]:
    """Settings of the model, those of its front end under `frontend`, and the size of its vocabulary."""
    config, frontend = load_settings(folder, kind)
    size = config.pop("vocab_size", None)
    if not isinstance(size, int):
        raise SpeechError(f"model folder {folder}: config.json has no vocab_size")
    return {**config, "frontend": frontend}, size


def load_weights(folder: Path, make: Callable[[], Model]) -> Model:
    """The model that `make` builds of the folder's settings, with its weights, in eval mode on the CPU."""
    try:
        model = make()
    except (SpeechError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:  # values no layer can have
        raise SpeechError(f"model folder {folder}: config.json builds no model: {one_line(error)}") from None
    try:
        weights = load_file(folder / "model.safetensors")
        model.load_state_dict(weights)
    except FileNotFoundError:
        raise SpeechError(f"model folder {folder}: model.safetensors is missing") from None
    except (SafetensorError, OSError) as error:
        raise SpeechError(f"model folder {folder}: model.safetensors is corrupt: {error}") from None
    except RuntimeError as error:
        raise SpeechError(
            f"model folder {folder}: model.safetensors does not fit config.json: {one_line(error)}"
        ) from None
    return model.eval()


def check_size(folder: Path, pieces: int, size: int) -> None:
    if pieces != size:
        raise SpeechError(f"model folder {folder}: tokenizer has {pieces} pieces, config.json {size}")


@dataclass
class Loaded:
    model: AED
    tokenizer: BaseTokenizer
    generation: GenerationConfig


def load_folder(folder: str | Path) -> Loaded:
    """Model in eval mode on the CPU. A missing, corrupt or mismatched file is one SpeechError naming it."""
    folder = Path(folder)
    config, size = load_config(folder, "aed")
    tokenizer = load_tokenizer(folder)
    check_size(folder, tokenizer.size, size)
    try:
        generation = GenerationConfig(**_read_json(folder, "generation_config.json"))
    except TypeError as error:
        raise SpeechError(f"model folder {folder}: generation_config.json: {error}") from None
    return Loaded(load_weights(folder, lambda: AED(AEDConfig.from_dict(config), size)), tokenizer, generation)
