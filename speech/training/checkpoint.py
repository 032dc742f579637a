"""Checkpoints that survive a kill at any moment: a folder is written aside and the rename is the commit."""

import hashlib
import json
import logging
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from speech.errors import SpeechError

log = logging.getLogger(__name__)

FILES = ("model.safetensors", "train_state.pt", "run.json")


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fault(folder: Path) -> str | None:
    """What is wrong with a checkpoint folder, None when it is whole."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        for name, entry in manifest["files"].items():
            if (folder / name).stat().st_size != entry["size"]:
                return f"{name} has the wrong size"
            if _sha256(folder / name) != entry["sha256"]:
                return f"{name} has the wrong sha256"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return str(error) if isinstance(error, OSError) else f"manifest.json cannot be used: {error!r}"
    return None


def checkpoints(root: Path) -> list[Path]:
    """`step-*` folders, oldest first."""
    return sorted(root.glob("step-*[0-9]"))


def newest(root: Path) -> Path | None:
    """The newest whole checkpoint; broken ones are passed over with a warning that names the fault."""
    for folder in reversed(checkpoints(root)):
        why = fault(folder)
        if why is None:
            return folder
        log.warning("checkpoint %s is not usable (%s): taking the one before", folder.name, why)
    return None


class FolderCheckpointIO(CheckpointIO):
    """Writes `step-000123/{model.safetensors, train_state.pt, run.json, manifest.json}`: aside, fsync, rename.

    `run` says what decides the losses, `hook(point)` is called between the steps of the protocol, so that tests can
    stop the write anywhere. A failed write is an OSError and leaves nothing behind.
    """

    def __init__(self, keep: int, run: dict[str, Any] | None = None, hook: Callable[[str], None] = lambda point: None):
        self.keep, self.run, self.hook = keep, run or {}, hook
        self.sound: list[str] = []  # loaded or written here

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        target = Path(path)
        root, aside = target.parent, target.with_name(target.name + ".tmp")
        root.mkdir(parents=True, exist_ok=True)
        for stale in root.glob("step-*.tmp"):
            shutil.rmtree(stale)
        if target.exists():
            if fault(target) is None:
                return  # the one that was loaded: a finished run has been started again
            shutil.rmtree(target)
        try:
            self._write(dict(checkpoint), aside)
        except (OSError, SafetensorError, RuntimeError) as error:  # the writers of torch wrap the fault of the disk
            shutil.rmtree(aside, ignore_errors=True)
            raise error if isinstance(error, OSError) else OSError(" ".join(str(error).split())) from error
        self.hook("written")
        os.rename(aside, target)
        _fsync(root)
        self.hook("renamed")
        latest = root / "latest.tmp"  # a hint for people; nothing here reads it
        latest.write_text(target.name)
        _fsync(latest)
        os.replace(latest, root / "latest")
        self.hook("latest")
        self._prune(root, target)
        self.hook("pruned")

    def _write(self, state: dict[str, Any], aside: Path) -> None:
        aside.mkdir()
        self.hook("made")
        weights = {name: tensor.contiguous() for name, tensor in state.pop("state_dict").items()}
        save_file(weights, aside / "model.safetensors")
        self.hook("weights")
        torch.save(state, aside / "train_state.pt")
        self.hook("state")
        (aside / "run.json").write_text(json.dumps(self.run, indent=1, ensure_ascii=False))
        files = {}
        for name in FILES:
            _fsync(aside / name)
            files[name] = {"size": (aside / name).stat().st_size, "sha256": _sha256(aside / name)}
        self.hook("synced")
        manifest = {"step": state["global_step"], "torch": torch.__version__, "files": files}
        (aside / "manifest.json").write_text(json.dumps(manifest, indent=1))
        _fsync(aside / "manifest.json")
        _fsync(aside)

    def _prune(self, root: Path, target: Path) -> None:
        """Keep the newest; what is newer than the first sound one but not sound is broken and takes no place."""
        self.sound.append(target.name)
        found = checkpoints(root)
        kept = [path for path in found if path.name in self.sound or path.name < self.sound[0]][-self.keep :]
        for path in found:
            if path not in kept:
                shutil.rmtree(path)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        folder = Path(path)
        why = fault(folder)
        if why is not None:
            raise SpeechError(f"checkpoint {folder}: {why}")
        try:
            state = torch.load(folder / "train_state.pt", map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            raise SpeechError(f"checkpoint {folder}: train_state.pt holds more than tensors and values") from None
        self.sound = [folder.name]
        return {**state, "state_dict": load_file(folder / "model.safetensors")}

    def remove_checkpoint(self, path: str | Path) -> None:
        shutil.rmtree(path)
