"""One place where Lightning's Trainer is built."""

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.loggers import TensorBoardLogger
from safetensors import safe_open

from speech.errors import SpeechError
from speech.training.callbacks import ExactResume, FiniteLoss, Progress, SaveCheckpoints, Stream
from speech.training.checkpoint import FolderCheckpointIO, newest
from speech.training.config import OptimConfig, TrainConfig
from speech.training.means import MeanGradient
from speech.training.plots import plot_curves
from speech.training.run import changes

log = logging.getLogger(__name__)


def lightning_precision(choice: str, accelerator: str) -> str:
    if choice == "auto":
        cuda = accelerator != "cpu" and torch.cuda.is_available()
        choice = "bf16" if cuda and torch.cuda.is_bf16_supported() else "32"
    return {"bf16": "bf16-mixed", "32": "32-true"}[choice]


def check_resume(found: Path, run: dict[str, Any], task: L.LightningModule, config: TrainConfig) -> None:
    """A checkpoint of another run stops with the changes, unless resume_inexact; the weights must fit anyway."""
    file = found / "run.json"
    changed = changes(json.loads(file.read_text()), run) if file.exists() else ["its settings are unknown"]
    if changed:
        what = f"{found} is of another run: {'; '.join(changed)}"
        if not config.resume_inexact:
            raise SpeechError(f"{what}. Give another --train.out, or --train.resume_inexact true to go on from it.")
        log.warning("%s. Going on from it: the run is not the one that would have been.", what)
    with safe_open(found / "model.safetensors", "pt") as weights:
        saved = {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118
    ours = {name: list(tensor.shape) for name, tensor in task.state_dict().items()}
    for name in [*ours, *saved]:
        if ours.get(name) != saved.get(name):
            shapes = f"{saved.get(name, 'missing')} there and {ours.get(name, 'missing')} here"
            raise SpeechError(f"{found} does not fit the model: {name} is {shapes}. Give another --train.out.")


def fit(
    task: L.LightningModule,
    train: Stream,
    dev: Stream,
    optim: OptimConfig,
    config: TrainConfig,
    run: dict[str, Any],
) -> Path | None:
    """Train to max_steps, from the newest whole checkpoint if there is one; `run` says what decides the losses.

    Returns the checkpoint folder, None on all ranks but the first.
    """
    out = Path(config.out)
    root = out / "checkpoints"
    out.mkdir(parents=True, exist_ok=True)
    for part in ("pytorch", "fabric"):
        logging.getLogger(f"lightning.{part}").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated")  # Lightning's own use
    warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before")  # ExactResume does it
    if SLURMEnvironment.detect():
        plugins = [SLURMEnvironment(auto_requeue=False)]  # its handler saves in mid-step; ours at the step edge
    else:
        plugins = [LightningEnvironment()] if config.devices == 1 else []
    precision = lightning_precision(config.precision, config.accelerator)
    valid_every = min(config.valid_every_steps, config.max_steps)
    io = FolderCheckpointIO(max(2, config.keep))
    trainer = L.Trainer(
        max_steps=config.max_steps,
        max_epochs=1,  # the stream is one epoch
        accelerator=config.accelerator,
        devices=config.devices,
        precision=precision,  # type: ignore[arg-type]
        accumulate_grad_batches=config.accumulate,
        gradient_clip_val=optim.clip,
        val_check_interval=valid_every * config.accumulate,
        check_val_every_n_epoch=None,  # counts batches from the start of the run
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        deterministic="warn",
        logger=TensorBoardLogger(out, name="tensorboard", version=""),
        plugins=[io, *plugins],
        callbacks=[
            FiniteLoss(out),
            MeanGradient(),
            ExactResume(train),
            Progress(out, config.log_every_steps, valid_every, train.sample_rate, config.max_steps, train.max_lost),
            SaveCheckpoints(root, config.save_every_steps),
        ],
    )
    io.run = {**run, "train.precision": precision, "processes": trainer.world_size}
    found = newest(root)
    if found is not None:
        check_resume(found, io.run, task, config)
        log.info("going on from %s", found)
    trainer.fit(task, train, dev, ckpt_path=found, weights_only=True)
    if not trainer.is_global_zero:
        return None
    if (out / "log.jsonl").exists():
        plot_curves(out / "log.jsonl", out / "curves.png")
    return root
