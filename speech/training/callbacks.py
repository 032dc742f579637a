"""What happens around the steps: exact resume, checkpoints, the log line, the stop at a non-finite loss."""

import json
import logging
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from tqdm import tqdm

from speech.data.asr import ASRBatch, ASRStream
from speech.data.crops import CropBatch, CropStream
from speech.errors import SpeechError

log = logging.getLogger(__name__)


Batch = ASRBatch | CropBatch
Stream = ASRStream | CropStream  # batches of all epochs


class Stopped(SpeechError):
    """Training ended early but can be resumed by the same command."""

    exit_code = 75


class ExactResume(L.Callback):
    """Keeps the data position and every random state, so that the resumed run is the run that would have been."""

    def __init__(self, stream: Stream):
        self.stream, self.pending = stream, None
        self.position, self.consumed = (0, 0, 0), 0

    def on_train_batch_end(self, trainer, pl_module, outputs, batch: Batch, batch_idx: int) -> None:
        epoch, pool, index = batch.place
        self.position, self.consumed = (epoch, pool, index + 1), self.consumed + 1

    def state_dict(self) -> dict:
        kind, keys, *rest = np.random.get_state()
        version, internal, gauss = random.getstate()
        own = {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "numpy": [kind, keys.tolist(), *rest],  # type: ignore[union-attr]
            "python": [version, list(internal), gauss],
        }
        states = [own]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            states = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(states, own)
        return {"position": list(self.position), "consumed": self.consumed, "rng": states}

    def on_load_checkpoint(self, trainer, pl_module, checkpoint: dict) -> None:
        """The stream is one epoch to Lightning: a finished run that gets more max_steps is in the middle of it again.

        Else Lightning would begin epochs without batches for ever.
        """
        loops = checkpoint["loops"]["fit_loop"]
        loops["epoch_loop.batch_progress"]["is_last_batch"] = False
        for counts in loops["epoch_progress"].values():
            counts |= {"processed": 0, "completed": 0}

    def load_state_dict(self, state_dict: dict) -> None:
        epoch, pool, index = state_dict["position"]
        self.stream.start = self.position = epoch, pool, index
        self.stream.consumed = self.consumed = state_dict["consumed"]
        self.pending = state_dict["rng"]

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx: int) -> None:
        if self.pending is None:
            return
        states, self.pending = self.pending, None
        if len(states) != trainer.world_size:  # only an inexact resume comes here
            return
        own = states[trainer.global_rank]
        torch.set_rng_state(own["torch"])
        if own["cuda"]:
            torch.cuda.set_rng_state_all(own["cuda"])
        np.random.set_state((own["numpy"][0], np.array(own["numpy"][1], dtype=np.uint32), *own["numpy"][2:]))
        random.setstate((own["python"][0], tuple(own["python"][1]), own["python"][2]))


class SaveCheckpoints(L.Callback):
    """Saves every n steps and at SIGTERM/SIGUSR1; three failed saves in a row stop the run with exit code 75."""

    def __init__(self, root: Path, every: int):
        self.root, self.every, self.failures, self.saved, self.signal = root, every, 0, 0, 0

    def on_train_start(self, trainer, pl_module) -> None:
        self.saved = trainer.global_step
        # in the place of Lightning's, which would stop in mid-step; it gives back what was there before at the end
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._flag)

    def _flag(self, number: int, frame) -> None:
        self.signal = number

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx: int) -> None:
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return  # a checkpoint does not hold the gradients of half a step
        step = trainer.global_step
        if step == trainer.max_steps:
            return
        stop = trainer.strategy.reduce_boolean_decision(self.signal != 0, all=False)
        if step % self.every == 0 or stop:
            self._save(trainer, step)
        if stop:
            raise Stopped(f"stopped by a signal after step {step}; the same command goes on from step {self.saved}")

    def on_train_end(self, trainer, pl_module) -> None:
        self._save(trainer, trainer.global_step)  # after the last validation: a kill in it must repeat it

    def _save(self, trainer, step: int) -> None:
        error = None
        try:
            trainer.save_checkpoint(self.root / f"step-{step:08d}")
        except OSError as caught:
            error = caught
            log.error("checkpoint of step %d not saved: %s", step, error)
            trainer.strategy.barrier("Trainer.save_checkpoint")  # where the other ranks wait
        if not trainer.strategy.reduce_boolean_decision(error is not None, all=False):
            self.failures, self.saved = 0, step
            return
        self.failures += 1
        if self.failures >= 3:
            raise Stopped(
                f"three checkpoints in a row could not be saved in {self.root}: {error or 'see rank 0'}. When there is "
                f"room, the same command goes on from step {self.saved}."
            )


class FiniteLoss(L.Callback):
    """A non-finite loss or gradient saves the batch, names the utterances and stops, before the optimiser step.

    The gradients have met those of the other ranks by then, so that all ranks stop together.
    """

    def __init__(self, out: Path):
        self.out = out
        self.seen: list[tuple[torch.Tensor, Batch]] = []  # losses and batches of this optimiser step

    def on_train_batch_start(self, trainer, pl_module, batch: Batch, batch_idx: int) -> None:
        self.batch = batch

    def on_before_backward(self, trainer, pl_module, loss: torch.Tensor) -> None:
        self.seen.append((loss.detach(), self.batch))

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        seen, self.seen = self.seen, []
        norm = torch.nn.utils.get_total_norm([p.grad for p in pl_module.parameters() if p.grad is not None])
        if torch.isfinite(norm + torch.stack([loss for loss, _ in seen]).sum()):
            return
        loss, batch = next((pair for pair in seen if not torch.isfinite(pair[0])), seen[-1])
        step = trainer.global_step + 1
        path = self.out / f"nonfinite-step-{step}-rank-{trainer.global_rank}.pt"
        torch.save(dict(vars(batch)), path)
        raise SpeechError(
            f"at step {step} the loss is {float(loss)}, the norm of the gradient {float(norm)}, utterances "
            f"{', '.join(batch.ids)}; batch saved in {path}. Lower optim.lr or optim.clip, or look at these utterances."
        )


class Progress(L.Callback):
    """One true log line per interval, the same numbers as JSONL and for TensorBoard, and a bar of steps.

    Losses are per unit of the task's weight, seconds of audio per second, over all ranks and batches since the last
    line. The task names its `parts` and returns sums of the loss, of each part and of the weight.
    """

    def __init__(self, out: Path, every: int, valid_every: int, sample_rate: int, max_steps: int, max_lost: float):
        self.path, self.every, self.valid_every = out / "log.jsonl", every, valid_every
        self.rate, self.max_steps, self.max_lost = sample_rate, max_steps, max_lost
        self.read, self.lost = 0.0, 0.0  # cuts of this process's run
        self.bar: tqdm | None = None
        self._reset()

    def _reset(self) -> None:
        self.since, self.steps = time.monotonic(), 0
        self.sums: dict[str, torch.Tensor | int] = {}

    def on_train_start(self, trainer, pl_module) -> None:
        step = trainer.global_step
        if trainer.is_global_zero:
            self._forget_after(step)
            self.bar = tqdm(total=self.max_steps, initial=step, unit="step", disable=None)
        if step and step % self.valid_every == 0:
            self._validate(trainer)
        self._reset()

    @staticmethod
    def _validate(trainer) -> None:
        """Lightning takes the validation after a checkpoint as done, but the kill may have come between them."""
        loop = trainer.fit_loop.epoch_loop.val_loop
        loop.restarting, trainer.validating = False, True
        loop.run()
        trainer.training = True

    def _forget_after(self, step: int) -> None:
        """Drop the lines that come again: of steps that a kill has undone, and of the validation at this step."""
        if not self.path.exists():
            return
        lines = [line for line in self.path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        rows = [(line, json.loads(line)) for line in lines]
        kept = [line for line, row in rows if row["step"] < step or (row["step"] == step and "loss" in row)]
        aside = self.path.with_suffix(".tmp")
        aside.write_text("".join(kept))
        os.replace(aside, self.path)

    def _write(self, trainer, step: int, values: dict[str, float]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        for logger in trainer.loggers:
            logger.log_metrics(values, step=step)

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        self.lr = optimizer.param_groups[0]["lr"]  # the schedule moves on before the batch ends

    def on_train_batch_end(self, trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int) -> None:
        counts = {"cuts": len(batch.ids), "lost": len(batch.lost)}
        for name, (real, padded) in batch.amounts().items():
            counts |= {f"real_{name}": real, f"padded_{name}": padded}
        sums = dict(zip(("loss", *pl_module.parts, "weight"), outputs["sums"].double(), strict=True))
        for name, value in (sums | counts).items():
            self.sums[name] = self.sums.get(name, 0) + value
        for what in batch.lost:
            log.warning("cut left out: %s", what)
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        step, self.steps = trainer.global_step, self.steps + 1
        if self.bar is not None:
            self.bar.update(step - self.bar.n)
        if step % self.every == 0 or step == self.max_steps:
            self._line(trainer, pl_module.parts, step, batch.place[0])
            self._reset()

    def _line(self, trainer, parts: tuple[str, ...], step: int, epoch: int) -> None:
        device = trainer.strategy.root_device
        sums = torch.stack([torch.as_tensor(value, dtype=torch.float64, device=device) for value in self.sums.values()])
        total = dict(zip(self.sums, trainer.strategy.reduce(sums, reduce_op="sum").tolist(), strict=True))
        self._check_lost(total["cuts"], total["lost"])
        if not trainer.is_global_zero:
            return
        elapsed = time.monotonic() - self.since
        left_min = (self.max_steps - step) * elapsed / self.steps / 60
        means = {name: total[name] / total["weight"] for name in ("loss", *parts)}
        amounts = [name.removeprefix("real_") for name in total if name.startswith("real_")]
        padding = {name: 1 - total[f"real_{name}"] / total[f"padded_{name}"] for name in amounts}
        values = {
            **means,
            "lr": self.lr,
            "audio_s_per_s": total["real_audio"] / self.rate / elapsed,
            **{f"padding_{name}": share for name, share in padding.items()},
            "cuts_per_batch": total["cuts"] / self.steps / trainer.accumulate_grad_batches / trainer.world_size,
            "lost_cuts": self.lost,
            "epoch": epoch,
        }
        self._write(trainer, step, values)
        told = " ".join(f"{name} {means[name]:.3f}" for name in parts)
        empty = " ".join(f"{100 * share:.1f} % {name}" for name, share in padding.items())
        log.info(
            f"step {step}  loss {means['loss']:.3f} ({told})  lr {self.lr:.2e}  "
            f"audio {values['audio_s_per_s']:.0f} s/s  padding {empty}  left {left_min:.1f} min"
        )

    def _check_lost(self, good: float, lost: float) -> None:
        """On all ranks alike, as the counts are those of all ranks."""
        self.read, self.lost = self.read + good + lost, self.lost + lost
        if self.lost > self.max_lost * self.read:
            raise SpeechError(
                f"{self.lost:.0f} of {self.read:.0f} cuts could not be read, more than data.max_lost "
                f"{self.max_lost:g}; the warnings above name them. Mend the manifest or raise the setting."
            )

    def on_validation_start(self, trainer, pl_module) -> None:
        self.paused = time.monotonic()

    def on_validation_end(self, trainer, pl_module) -> None:
        self.since += time.monotonic() - self.paused  # the speed is that of training
        if trainer.is_global_zero:
            dev = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("dev_")}
            self._write(trainer, trainer.global_step, dev)
            log.info(f"step {trainer.global_step}  " + "  ".join(f"{k} {v:.3f}" for k, v in dev.items()))

    def on_train_end(self, trainer, pl_module) -> None:
        if self.bar is not None:
            self.bar.close()
