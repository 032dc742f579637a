"""A model is a folder that explains itself: settings, safetensors weights, tokenizer, card. No recipe, no Lightning."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from speech.errors import SpeechError, one_line
from speech.generation import GenerationConfig
from speech.models.aed import AED, count_parameters
from speech.nn.config import AEDConfig
from speech.text.base import BaseTokenizer
from speech.text.load import load_tokenizer

FORMAT_VERSION = 1


def _card(config: AEDConfig, n_parameters: int, notes: str) -> str:
    f = config.frontend
    return (
        f"---\nlibrary_name: parlance-speech\npipeline_tag: automatic-speech-recognition\n---\n\n"
        f"# Attention encoder-decoder recogniser\n\n{n_parameters:,} parameters, {f.n_mels} {f.kind} bins at "
        f"{f.sample_rate} Hz.\n\n{notes}\n\n```bash\nspeech transcribe THIS_FOLDER audio.wav\n```\n"
    )


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def save_model(
    folder: str | Path, model: AED, tokenizer: BaseTokenizer, generation: GenerationConfig, notes: str = ""
) -> None:
    """Write the model folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = model.config.to_dict()
    frontend = config.pop("frontend")
    _write_json(
        folder / "config.json",
        {"model_type": "aed", "format_version": FORMAT_VERSION, "vocab_size": model.vocab_size, **config},
    )
    _write_json(folder / "preprocessor_config.json", frontend)
    _write_json(folder / "generation_config.json", asdict(generation))
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "model.safetensors")
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


@dataclass
class Loaded:
    model: AED
    tokenizer: BaseTokenizer
    generation: GenerationConfig


def load_folder(folder: str | Path) -> Loaded:
    """Model in eval mode on the CPU. A missing, corrupt or mismatched file is one SpeechError naming it."""
    folder = Path(folder)
    if not folder.is_dir():
        raise SpeechError(f"model folder {folder} does not exist")
    config = _read_json(folder, "config.json")
    if config.pop("model_type", None) != "aed" or config.pop("format_version", None) != FORMAT_VERSION:
        raise SpeechError(f"model folder {folder}: config.json is not an aed model of format {FORMAT_VERSION}")
    vocab_size = config.pop("vocab_size", None)
    if not isinstance(vocab_size, int):
        raise SpeechError(f"model folder {folder}: config.json has no vocab_size")
    tokenizer = load_tokenizer(folder)
    if tokenizer.size != vocab_size:
        raise SpeechError(f"model folder {folder}: tokenizer has {tokenizer.size} pieces, config.json {vocab_size}")
    try:
        generation = GenerationConfig(**_read_json(folder, "generation_config.json"))
    except TypeError as error:
        raise SpeechError(f"model folder {folder}: generation_config.json: {error}") from None
    config["frontend"] = _read_json(folder, "preprocessor_config.json")
    try:
        model = AED(AEDConfig.from_dict(config), vocab_size)
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
    return Loaded(model.eval(), tokenizer, generation)
