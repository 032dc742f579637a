"""One place where Lightning's Trainer is built."""

import logging
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.environments import LightningEnvironment, SLURMEnvironment

from speech.data.asr import ASRStream
from speech.training.callbacks import ExactResume, FiniteLoss, Progress, SaveCheckpoints
from speech.training.checkpoint import FolderCheckpointIO, newest
from speech.training.config import OptimConfig, TrainConfig
from speech.training.plots import plot_curves

log = logging.getLogger(__name__)


def lightning_precision(choice: str) -> str:
    if choice == "auto":
        choice = "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "32"
    return {"bf16": "bf16-mixed", "32": "32-true"}[choice]


def fit(task: L.LightningModule, train: ASRStream, dev: ASRStream, optim: OptimConfig, config: TrainConfig) -> Path:
    """Train to max_steps, from the newest whole checkpoint if there is one; returns the checkpoint folder."""
    out = Path(config.out)
    root = out / "checkpoints"
    out.mkdir(parents=True, exist_ok=True)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    if SLURMEnvironment.detect():
        plugins = [SLURMEnvironment(auto_requeue=False)]  # its handler saves in mid-step; ours at the step edge
    else:
        plugins = [LightningEnvironment()] if config.devices == 1 else []
    trainer = L.Trainer(
        max_steps=config.max_steps,
        max_epochs=1,
        devices=config.devices,
        precision=lightning_precision(config.precision),  # type: ignore[arg-type]
        accumulate_grad_batches=config.accumulate,
        gradient_clip_val=optim.clip,
        val_check_interval=config.valid_every_steps * config.accumulate,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        deterministic="warn",
        logger=TensorBoardLogger(out, name="tensorboard", version=""),
        plugins=[FolderCheckpointIO(max(2, config.keep)), *plugins],
        callbacks=[
            FiniteLoss(out),
            ExactResume(train),
            Progress(out, config.log_every_steps, train.sample_rate, config.max_steps, config.accumulate),
            SaveCheckpoints(root, config.save_every_steps),
        ],
    )
    found = newest(root)
    if found is not None:
        log.info("going on from %s", found)
    trainer.fit(task, train, dev, ckpt_path=found, weights_only=True)
    plot_curves(out / "log.jsonl", out / "curves.png")
    return root
