import errno
import json
import logging
import os
import pickle
import resource
import shutil
import signal
from types import SimpleNamespace

import pytest
import torch

from speech.errors import SpeechError
from speech.training import checkpoint
from speech.training.callbacks import SaveCheckpoints, Stopped
from speech.training.checkpoint import FolderCheckpointIO, checkpoints, fault, newest

POINTS = ("made", "weights", "state", "synced", "written", "renamed", "latest", "pruned")


def state(step: int, value: float | None = None) -> dict:
    """Weights that tell the step."""
    full = torch.full((64, 64), float(step) if value is None else value)
    return {"global_step": step, "state_dict": {"w": full}, "optimizer_states": [{"m": full.clone(), "n": [1, "a"]}]}


def save(io: FolderCheckpointIO, root, step: int, value: float | None = None):
    io.save_checkpoint(state(step, value), root / f"step-{step:08d}")


def value_of(folder) -> float:
    return float(FolderCheckpointIO(2).load_checkpoint(folder)["state_dict"]["w"][0, 0])


def names(root) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.is_dir())


def fork(work) -> int:
    """Run `work` in a child without cleaning up after it; how the child ended, as subprocess tells it."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_what_is_saved_is_loaded(tmp_path):
    io = FolderCheckpointIO(2, {"optim.lr": 0.1})
    save(io, tmp_path, 3)
    loaded = FolderCheckpointIO(2).load_checkpoint(tmp_path / "step-00000003")
    assert torch.equal(loaded["state_dict"]["w"], state(3)["state_dict"]["w"])
    assert loaded["optimizer_states"][0]["n"] == [1, "a"] and loaded["global_step"] == 3
    assert (tmp_path / "latest").read_text() == "step-00000003"
    assert json.loads((tmp_path / "step-00000003/run.json").read_text()) == {"optim.lr": 0.1}


@pytest.mark.parametrize("how", ["kill", "raise"])
@pytest.mark.parametrize("point", POINTS)
def test_a_stop_anywhere_leaves_a_whole_state(tmp_path, point, how):
    save(FolderCheckpointIO(2), tmp_path, 1)

    def hook(here: str):
        if here == point:
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise KeyboardInterrupt

    def work():
        save(FolderCheckpointIO(2, hook=hook), tmp_path, 2, 20.0)

    if how == "kill":
        assert fork(work) == -signal.SIGKILL
    else:
        with pytest.raises(KeyboardInterrupt):
            work()
    committed = POINTS.index(point) >= POINTS.index("renamed")
    assert value_of(newest(tmp_path)) == (20.0 if committed else 1.0)
    save(FolderCheckpointIO(2), tmp_path, 3)  # the next save clears up what the stop has left
    assert names(tmp_path) == [f"step-0000000{2 if committed else 1}", "step-00000003"]
    assert value_of(newest(tmp_path)) == 3.0


def test_the_same_step_again_replaces_a_broken_one_only(tmp_path):
    save(FolderCheckpointIO(2), tmp_path, 1)
    save(FolderCheckpointIO(2), tmp_path, 1, 20.0)
    assert value_of(tmp_path / "step-00000001") == 1.0
    flip(tmp_path / "step-00000001/model.safetensors")
    save(FolderCheckpointIO(2), tmp_path, 1, 20.0)
    assert value_of(tmp_path / "step-00000001") == 20.0


FAULTS = {
    "a flipped byte": (lambda d: flip(d / "model.safetensors"), "model.safetensors has the wrong sha256"),
    "a flipped byte of the state": (lambda d: flip(d / "train_state.pt"), "train_state.pt has the wrong sha256"),
    "another setting": (lambda d: (d / "run.json").write_text("[]"), "run.json has the wrong s"),
    "a truncated file": (lambda d: os.truncate(d / "train_state.pt", 100), "train_state.pt has the wrong size"),
    "a missing file": (lambda d: (d / "model.safetensors").unlink(), "model.safetensors is missing"),
    "a missing manifest": (lambda d: (d / "manifest.json").unlink(), "manifest.json is missing"),
    "half a manifest": (lambda d: os.truncate(d / "manifest.json", 50), "manifest.json cannot be used"),
    "a list as manifest": (lambda d: (d / "manifest.json").write_text("[1]"), "manifest.json cannot be used"),
}


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_newest_is_passed_over_with_the_fault_named(tmp_path, caplog, name):
    io = FolderCheckpointIO(3)
    save(io, tmp_path, 1)
    save(io, tmp_path, 2)
    damage, message = FAULTS[name]
    damage(tmp_path / "step-00000002")
    with caplog.at_level(logging.WARNING):
        assert newest(tmp_path) == tmp_path / "step-00000001"
    assert "step-00000002" in caplog.text and message in caplog.text
    with pytest.raises(SpeechError, match=f"step-00000002: {message}"):
        io.load_checkpoint(tmp_path / "step-00000002")


def test_nothing_whole_is_nothing(tmp_path):
    assert newest(tmp_path / "absent") is None
    (tmp_path / "step-00000001").mkdir()
    assert newest(tmp_path) is None


def test_every_byte_is_on_disk_before_the_rename_and_the_rename_before_the_next_step(tmp_path, monkeypatch):
    events = []
    paths = {}
    real = {name: getattr(os, name) for name in ("fsync", "rename", "replace", "open")}

    def opened(path, *args, **kwargs):
        descriptor = real["open"](path, *args, **kwargs)
        paths[descriptor] = os.path.basename(path)
        return descriptor

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "fsync", lambda d: (events.append(f"fsync {paths[d]}"), real["fsync"](d)))
    for name in ("rename", "replace"):
        moved = real[name]
        record = lambda a, b, move=moved: (events.append(f"rename {os.path.basename(b)}"), move(a, b))  # noqa: E731
        monkeypatch.setattr(os, name, record)
    rmtree = shutil.rmtree
    monkeypatch.setattr(
        shutil, "rmtree", lambda p, **k: (events.append(f"remove {os.path.basename(p)}"), rmtree(p, **k))
    )
    io = FolderCheckpointIO(2, hook=lambda point: events.append(point) if point == "synced" else None)
    for step in (1, 2):
        save(io, tmp_path, step)
    events.clear()
    save(io, tmp_path, 3)
    assert events == [
        "fsync model.safetensors",
        "fsync train_state.pt",
        "fsync run.json",
        "synced",
        "fsync manifest.json",
        "fsync step-00000003.tmp",
        "rename step-00000003",
        f"fsync {tmp_path.name}",
        "fsync latest.tmp",
        "rename latest",
        "remove step-00000001",
    ]


def test_a_full_disk_at_any_byte_keeps_the_old_state(tmp_path):
    """RLIMIT_FSIZE makes the writes of every library fail at that offset of a file."""
    save(FolderCheckpointIO(2), tmp_path, 1)
    sizes = [path.stat().st_size for path in (tmp_path / "step-00000001").iterdir()]

    def work(limit: int):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            save(FolderCheckpointIO(2), tmp_path, 2)
        except OSError as error:
            os._exit(7 if "\n" not in str(error) else 8)

    for limit in (0, 1, 100, 300, 1000, 5000, 16000, max(sizes) - 1):
        assert fork(lambda limit=limit: work(limit)) == 7
        assert names(tmp_path) == ["step-00000001"] and value_of(newest(tmp_path)) == 1.0
    assert fork(lambda: work(max(sizes) + 100)) == 0
    assert value_of(newest(tmp_path)) == 2.0


class Strategy:
    def reduce_boolean_decision(self, decision, all):
        return decision

    def barrier(self, name):
        pass


def test_training_goes_on_after_a_failed_save_and_stops_after_three(tmp_path, monkeypatch, caplog):
    io, full = FolderCheckpointIO(2), set()
    write = checkpoint.save_file

    def save_file(weights, path):
        if weights["w"][0, 0].item() in full:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(weights, path)

    monkeypatch.setattr(checkpoint, "save_file", save_file)
    trainer = SimpleNamespace(strategy=Strategy(), accumulate_grad_batches=1, max_steps=100, global_step=0)
    trainer.save_checkpoint = lambda path: io.save_checkpoint(state(trainer.global_step), path)
    callback, module = SaveCheckpoints(tmp_path, 1), SimpleNamespace(device="cpu")

    def step(n: int):
        trainer.global_step = n
        callback.on_train_batch_end(trainer, module, None, None, n - 1)

    full.update({2, 3, 5, 6, 7})
    for n in (1, 2, 3, 4, 5, 6):
        step(n)
    assert names(tmp_path) == ["step-00000001", "step-00000004"]
    assert "checkpoint of step 6 not saved: [Errno 28] No space left on device" in caplog.text
    with pytest.raises(Stopped, match="No space left on device.*goes on from step 4.$") as stop:
        step(7)
    assert stop.value.exit_code == 75 and "\n" not in str(stop.value)
    assert names(tmp_path) == ["step-00000001", "step-00000004"] and value_of(newest(tmp_path)) == 4.0


def test_half_a_step_is_never_saved(tmp_path):
    saved = []
    trainer = SimpleNamespace(
        strategy=Strategy(), accumulate_grad_batches=2, max_steps=100, save_checkpoint=saved.append
    )
    callback, module = SaveCheckpoints(tmp_path, 1), SimpleNamespace(device="cpu")
    for batch in range(6):
        trainer.global_step = (batch + 1) // 2
        callback.on_train_batch_end(trainer, module, None, None, batch)
    assert [path.name for path in saved] == ["step-00000001", "step-00000002", "step-00000003"]


def test_the_loaded_one_stays_until_enough_new_ones_are_whole(tmp_path):
    io = FolderCheckpointIO(2)
    for step in (1, 2):
        save(io, tmp_path, step)
    for broken in (3, 4, 5):  # newer, in number enough to push out the good ones
        shutil.copytree(tmp_path / "step-00000002", tmp_path / f"step-{broken:08d}")
        flip(tmp_path / f"step-{broken:08d}" / "model.safetensors")
    resumed = FolderCheckpointIO(2)
    resumed.load_checkpoint(newest(tmp_path))
    save(resumed, tmp_path, 4)
    assert names(tmp_path) == ["step-00000002", "step-00000004"]
    assert [fault(path) for path in checkpoints(tmp_path)] == [None, None]
    save(resumed, tmp_path, 6)
    assert names(tmp_path) == ["step-00000004", "step-00000006"]


class Payload:
    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


@pytest.mark.parametrize("form", ["torch", "pickle"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickled_payload_is_refused_and_does_not_run(tmp_path, form):
    canary = tmp_path / "canary"
    save(FolderCheckpointIO(2), tmp_path, 1)
    file = tmp_path / "step-00000001/train_state.pt"
    if form == "torch":
        torch.save({"global_step": 1, "evil": Payload(canary)}, file)
    else:
        file.write_bytes(pickle.dumps(Payload(canary)))
    manifest = json.loads((file.parent / "manifest.json").read_text())
    manifest["files"][file.name] = {"size": file.stat().st_size, "sha256": checkpoint._sha256(file)}
    (file.parent / "manifest.json").write_text(json.dumps(manifest))
    assert newest(tmp_path) == file.parent
    with pytest.raises(SpeechError, match="train_state.pt holds more than tensors and values$"):
        FolderCheckpointIO(2).load_checkpoint(file.parent)
    assert not canary.exists()
