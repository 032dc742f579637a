"""What decides the losses of a run: its settings and the bytes of its files. A resumed run must be the same run."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from speech.data.config import DataConfig
from speech.data.sources import fingerprint, read_sources
from speech.text.load import load_tokenizer
from speech.training.config import AEDRecipe

# settings that cannot change a loss, as those of `generation`; files count by their bytes, devices by the processes
FREE = (
    *("init", "durations", "pitch", "energy", "mels"),
    *("diagonal_after_steps", "diagonal_focus", "diagonal_agreement"),
    *("data.train", "data.dev", "data.tokenizer", "data.bins", "data.batch_sizes", "data.mels"),
    *("data.augment.noise_manifest", "data.workers", "data.cache_seconds", "data.max_lost", "data.force_batch_sizes"),
    *("train.out", "train.devices", "train.keep", "train.resume_inexact"),
    *("train.save_every_steps", "train.log_every_steps", "train.valid_every_steps"),
)


def describe(recipe: AEDRecipe) -> dict[str, Any]:
    """`describe_data`, and the folder that the run starts from."""
    if not recipe.init:
        return describe_data(recipe, recipe.data, {})
    found = describe_data(recipe, recipe.data, {"the initial weights": f"{recipe.init}/model.safetensors"})
    return found | {"the initial tokenizer": load_tokenizer(recipe.init).fingerprint}


def describe_data(recipe: Any, data: DataConfig, files: Mapping[str, str]) -> dict[str, Any]:
    """`describe_files` with those of the data."""
    own = {
        "the bins": data.bins,
        "the batch sizes": data.batch_sizes,
        "the noise manifest": data.augment.noise_manifest,
    }
    found = describe_files(recipe, {**own, **files})
    if data.tokenizer:
        found["the tokenizer"] = load_tokenizer(data.tokenizer).fingerprint
    for path in (source.manifest for source in read_sources(data.train).sources):
        if path != Path(data.train):  # several may have one name, each in its folder
            found[f"the manifest {path.name}"] = found.get(f"the manifest {path.name}", "") + fingerprint(path)
    return found


def describe_files(recipe: Any, files: Mapping[str, str]) -> dict[str, Any]:
    """Dotted names of settings to plain values, and names of files to the sha256 of their bytes."""
    settings = {k: v for k, v in flat(asdict(recipe)).items() if k not in FREE and not k.startswith("generation.")}
    files = {"the training manifest": recipe.data.train, **files}
    return settings | {name: fingerprint(path) for name, path in files.items() if path}


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted names to values."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            out |= flat(value, f"{prefix}{key}.")
        else:
            out[prefix + key] = json.loads(json.dumps(value))  # tuples are lists there
    return out


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """One phrase for each difference between two descriptions."""
    found = []
    for name in [*new, *(name for name in old if name not in new)]:
        before, after = old.get(name, "unset"), new.get(name, "unset")
        if before != after:
            found.append(f"{name} changed" if name.startswith("the ") else f"{name} was {before}, is {after}")
    return found
