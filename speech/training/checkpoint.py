"""Checkpoints that survive a kill at any moment: a folder is written aside and the rename is the commit."""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from safetensors.torch import load_file, save_file

from speech.errors import SpeechError

log = logging.getLogger(__name__)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fault(folder: Path, hashes: bool = True) -> str | None:
    """What is wrong with a checkpoint folder, None when it is whole."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        for name, entry in manifest["files"].items():
            if (folder / name).stat().st_size != entry["size"]:
                return f"{name} has the wrong size"
            if hashes and _sha256(folder / name) != entry["sha256"]:
                return f"{name} has the wrong sha256"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return str(error)
    return None


def newest(root: Path) -> Path | None:
    """The newest whole `step-*` folder; broken ones are passed over with a warning that names the fault."""
    for folder in sorted(root.glob("step-*[0-9]"), reverse=True):
        why = fault(folder)
        if why is None:
            return folder
        log.warning("checkpoint %s is not usable (%s): taking the one before", folder.name, why)
    return None


class FolderCheckpointIO(CheckpointIO):
    """Writes `step-000123/{model.safetensors, train_state.pt, manifest.json}` by write aside, fsync, rename.

    `hook(point)` is called between the steps of the protocol, so that tests can stop the write anywhere.
    """

    def __init__(self, keep: int, hook: Callable[[str], None] = lambda point: None):
        self.keep, self.hook = keep, hook

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        target = Path(path)
        root, aside = target.parent, target.with_name(target.name + ".tmp")
        root.mkdir(parents=True, exist_ok=True)
        for stale in root.glob("step-*.tmp"):
            shutil.rmtree(stale)
        try:
            self._write(dict(checkpoint), aside)
        except OSError:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        self.hook("written")
        if target.exists():  # the same step again after a resume: the old one goes only now
            shutil.rmtree(target)
        os.rename(aside, target)
        _fsync(root)
        self.hook("renamed")
        (root / "latest.tmp").write_text(target.name)
        os.replace(root / "latest.tmp", root / "latest")
        self.hook("latest")
        for old in sorted(root.glob("step-*[0-9]"))[: -self.keep]:
            shutil.rmtree(old)
        self.hook("pruned")

    def _write(self, state: dict[str, Any], aside: Path) -> None:
        aside.mkdir()
        weights = {name: tensor.contiguous() for name, tensor in state.pop("state_dict").items()}
        save_file(weights, aside / "model.safetensors")
        self.hook("weights")
        torch.save(state, aside / "train_state.pt")
        self.hook("state")
        files = {}
        for name in ("model.safetensors", "train_state.pt"):
            _fsync(aside / name)
            files[name] = {"size": (aside / name).stat().st_size, "sha256": _sha256(aside / name)}
        manifest = {"step": state["global_step"], "torch": torch.__version__, "files": files}
        (aside / "manifest.json").write_text(json.dumps(manifest, indent=1))
        _fsync(aside / "manifest.json")
        _fsync(aside)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        folder = Path(path)
        why = fault(folder)
        if why is not None:
            raise SpeechError(f"checkpoint {folder}: {why}")
        state = torch.load(folder / "train_state.pt", map_location="cpu", weights_only=True)
        return {**state, "state_dict": load_file(folder / "model.safetensors")}

    def remove_checkpoint(self, path: str | Path) -> None:
        shutil.rmtree(path)
