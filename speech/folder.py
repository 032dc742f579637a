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
from speech.nn.config import AEDConfig
from speech.text.base import BaseTokenizer
from speech.text.files import read_object
from speech.text.load import load_tokenizer

FORMAT_VERSION = 1
Model = TypeVar("Model", bound=nn.Module)


def write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def save_settings(folder: Path, kind: str, model: Any, features: str, **head: Any) -> None:
    """config.json with the head, preprocessor_config.json with the part `features` of the settings, and weights."""
    folder.mkdir(parents=True, exist_ok=True)
    config = asdict(model.config)
    write_json(folder / "preprocessor_config.json", config.pop(features))
    write_json(folder / "config.json", {"model_type": kind, **head, "format_version": FORMAT_VERSION, **config})
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "model.safetensors")


def save_card(folder: Path, task: str, title: str, about: str, notes: str, command: str = "") -> None:
    parts = [f"---\nlibrary_name: parlance-speech\npipeline_tag: {task}\n---", f"# {title}", about, notes]
    parts += [f"```bash\n{command}\n```"] if command else []
    (folder / "README.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def save_model(
    folder: str | Path, model: AED, tokenizer: BaseTokenizer, generation: GenerationConfig, notes: str = ""
) -> None:
    """Write the model folder."""
    folder, f = Path(folder), model.config.frontend
    save_settings(folder, "aed", model, "frontend", vocab_size=model.vocab_size)
    write_json(folder / "generation_config.json", asdict(generation))
    tokenizer.save(folder)
    about = f"{count_parameters(model):,} parameters, {f.n_mels} {f.kind} bins at {f.sample_rate} Hz."
    title, command = "Attention encoder-decoder recogniser", "speech transcribe THIS_FOLDER audio.wav"
    save_card(folder, "automatic-speech-recognition", title, about, notes, command)


def load_settings(folder: Path, kind: str, features: str) -> dict[str, Any]:
    """The settings that `save_settings` wrote, with what it was given as head."""
    if not folder.is_dir():
        raise SpeechError(f"model folder {folder} does not exist")
    config = read_object(folder, "config.json")
    if config.pop("model_type", None) != kind or config.pop("format_version", None) != FORMAT_VERSION:
        raise SpeechError(f"{folder / 'config.json'}: not of model_type {kind} in format {FORMAT_VERSION}")
    return {**config, features: read_object(folder, "preprocessor_config.json")}


def load_weights(folder: Path, make: Callable[[], Model]) -> Model:
    """The model that `make` builds of the folder's settings, with its weights, in eval mode on the CPU."""
    try:
        model = make()
    except (SpeechError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:  # values no layer can have
        raise SpeechError(f"{folder / 'config.json'} builds no model: {one_line(error)}") from None
    path = folder / "model.safetensors"
    try:
        model.load_state_dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise SpeechError(f"{path} cannot be read: {one_line(error)}") from None
    except RuntimeError as error:
        raise SpeechError(f"{path} does not fit config.json: {one_line(error)}") from None
    return model.eval()


def check_size(folder: Path, pieces: int, size: Any) -> None:
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
    config = load_settings(folder, "aed", "frontend")
    tokenizer, size = load_tokenizer(folder), config.pop("vocab_size", None)
    check_size(folder, tokenizer.size, size)
    try:
        generation = GenerationConfig(**read_object(folder, "generation_config.json"))
    except TypeError as error:
        raise SpeechError(f"{folder / 'generation_config.json'}: {error}") from None
    model = load_weights(folder, lambda: AED(AEDConfig.from_dict(config), tokenizer.size))
    return Loaded(model, tokenizer, generation)
