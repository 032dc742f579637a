"""What decides the losses of a run: its settings and the bytes of its files. A resumed run must be the same run."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from speech.data.config import DataConfig
from speech.data.sources import fingerprint, read_sources
from speech.errors import SpeechError
from speech.text.load import load_tokenizer
from speech.training.config import AEDRecipe

# settings that cannot change a loss, as those of `generation`; files count by their bytes, devices by the processes
FREE = (
    *("init", "durations", "pitch", "energy", "mels"),
    *("data.train", "data.dev", "data.tokenizer", "data.bins", "data.batch_sizes"),
    *("data.augment.noise_manifest", "data.workers", "data.max_lost", "data.force_batch_sizes"),
    *("train.out", "train.devices", "train.keep", "train.resume_inexact"),
    *("train.save_every_steps", "train.log_every_steps", "train.valid_every_steps"),
)


def describe(recipe: AEDRecipe) -> dict[str, Any]:
    """`describe_data`, and the folder that the run starts from."""
    found = describe_data(recipe, recipe.data)
    if recipe.init:
        found["the initial weights"] = sha256_of(Path(recipe.init) / "model.safetensors")
        found["the initial tokenizer"] = load_tokenizer(recipe.init).fingerprint
    return found


def describe_data(recipe: Any, data: DataConfig) -> dict[str, Any]:
    """Dotted names of settings to plain values, and names of files to the sha256 of their bytes."""
    paths = {
        "the bins": data.bins,
        "the batch sizes": data.batch_sizes,
        "the noise manifest": data.augment.noise_manifest,
    }
    settings = {k: v for k, v in flat(asdict(recipe)).items() if k not in FREE and not k.startswith("generation.")}
    files = {"the training manifest": fingerprint(data.train)} if data.train else {}
    if data.tokenizer:
        files["the tokenizer"] = load_tokenizer(data.tokenizer).fingerprint
    files |= {name: sha256_of(path) for name, path in paths.items() if path}
    if data.train:
        for path in (source.manifest for source in read_sources(data.train)):
            if path != Path(data.train):  # several may have one name, each in its folder
                files[f"the manifest {path.name}"] = files.get(f"the manifest {path.name}", "") + fingerprint(path)
    return settings | files


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted names to values."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            out |= flat(value, f"{prefix}{key}.")
        else:
            out[prefix + key] = json.loads(json.dumps(value))  # tuples are lists there
    return out


def sha256_of(path: str | Path) -> str:
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SpeechError(f"{path}: cannot be read ({error.strerror})") from None


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """One phrase for each difference between two descriptions."""
    found = []
    for name in [*new, *(name for name in old if name not in new)]:
        before, after = old.get(name, "unset"), new.get(name, "unset")
        if before != after:
            found.append(f"{name} changed" if name.startswith("the ") else f"{name} was {before}, is {after}")
    return found
