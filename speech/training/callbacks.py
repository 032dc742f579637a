"""What happens around the steps: exact resume, checkpoints, the log line, the stop at a non-finite loss."""

import json
import logging
import random
import signal
import time
from pathlib import Path

import lightning as L
import numpy as np
import torch
from tqdm import tqdm

from speech.data.asr import ASRBatch, ASRStream
from speech.errors import SpeechError

log = logging.getLogger(__name__)


class Stopped(SpeechError):
    """Training ended early but can be resumed by the same command."""

    exit_code = 75


class ExactResume(L.Callback):
    """Keeps the data position and every random state, so that the resumed run is the run that would have been."""

    def __init__(self, stream: ASRStream):
        self.stream, self.pending = stream, None
        self.position, self.consumed = (0, 0), 0

    def on_train_batch_end(self, trainer, pl_module, outputs, batch: ASRBatch, batch_idx: int) -> None:
        self.position, self.consumed = (batch.epoch, batch.index + 1), self.consumed + 1

    def state_dict(self) -> dict:
        kind, keys, *rest = np.random.get_state()
        version, internal, gauss = random.getstate()
        own = {
            "torch": torch.get_rng_state(),
            "cuda": [s for s in torch.cuda.get_rng_state_all()] if torch.cuda.is_available() else [],
            "numpy": [kind, keys.tolist(), *rest],  # type: ignore[union-attr]
            "python": [version, list(internal), gauss],
        }
        states = [own]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            states = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(states, own)
        return {"position": list(self.position), "consumed": self.consumed, "rng": states}

    def load_state_dict(self, state_dict: dict) -> None:
        self.position, self.consumed = (state_dict["position"][0], state_dict["position"][1]), state_dict["consumed"]
        self.stream.start, self.stream.consumed = self.position, self.consumed
        self.pending = state_dict["rng"]

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx: int) -> None:
        if self.pending is None:
            return
        if len(self.pending) != trainer.world_size:
            raise SpeechError(f"the checkpoint is of {len(self.pending)} processes, this run has {trainer.world_size}")
        own, self.pending = self.pending[trainer.global_rank], None
        torch.set_rng_state(own["torch"])
        if own["cuda"]:
            torch.cuda.set_rng_state_all(own["cuda"])
        np.random.set_state((own["numpy"][0], np.array(own["numpy"][1], dtype=np.uint32), *own["numpy"][2:]))
        random.setstate((own["python"][0], tuple(own["python"][1]), own["python"][2]))


class SaveCheckpoints(L.Callback):
    """Saves every n steps and at SIGTERM/SIGUSR1; three failed saves in a row stop the run with exit code 75."""

    def __init__(self, root: Path, every: int):
        self.root, self.every, self.failures, self.saved, self.signal = root, every, 0, -1, 0

    def on_fit_start(self, trainer, pl_module) -> None:
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._flag)

    def _flag(self, number: int, frame) -> None:
        self.signal = number

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx: int) -> None:
        step = trainer.global_step
        stop = bool(trainer.strategy.reduce(torch.tensor(float(self.signal), device=pl_module.device), reduce_op="max"))
        due = step % self.every == 0 or step == trainer.max_steps or stop
        if due and step != self.saved and step > 0:
            self._save(trainer, step)
        if stop:
            raise Stopped(f"stopped by a signal after step {step}; the same command goes on")

    def _save(self, trainer, step: int) -> None:
        try:
            trainer.save_checkpoint(self.root / f"step-{step:08d}")
            self.failures, self.saved = 0, step
        except OSError as error:
            self.failures += 1
            log.error("checkpoint of step %d not saved: %s", step, error)
            if self.failures >= 3:
                raise Stopped(f"three checkpoints in a row could not be saved: {error}") from error


class FiniteLoss(L.Callback):
    """A non-finite loss saves the batch, names the utterances and stops."""

    def __init__(self, out: Path):
        self.out = out

    def on_train_batch_end(self, trainer, pl_module, outputs, batch: ASRBatch, batch_idx: int) -> None:
        loss = outputs["loss"]
        if torch.isfinite(loss):
            return
        path = self.out / f"nonfinite-step-{trainer.global_step}.pt"
        torch.save({k: v for k, v in vars(batch).items()}, path)
        raise SpeechError(
            f"loss is {float(loss)} at step {trainer.global_step}, utterances {', '.join(batch.ids)}; batch saved in "
            f"{path}. Lower optim.lr or optim.clip, or look at these utterances."
        )


class Progress(L.Callback):
    """One true log line per interval, the same numbers as JSONL and for TensorBoard, and a bar of audio seconds."""

    def __init__(self, out: Path, every: int, sample_rate: int, max_steps: int, accumulate: int):
        self.path, self.every, self.rate = out / "log.jsonl", every, sample_rate
        self.max_steps, self.accumulate = max_steps, accumulate
        self.bar: tqdm | None = None
        self._reset()

    def _reset(self) -> None:
        self.since, self.count, self.sums = time.monotonic(), 0, np.zeros(3)
        self.lengths = np.zeros(4)  # real and padded samples, real and padded tokens

    def on_train_start(self, trainer, pl_module) -> None:
        self._reset()
        if trainer.is_global_zero:
            self.bar = tqdm(total=self.max_steps, initial=trainer.global_step, unit="step", disable=None)

    def _write(self, trainer, values: dict[str, float]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(values) + "\n")
        for logger in trainer.loggers:
            logger.log_metrics({k: v for k, v in values.items() if k != "step"}, step=int(values["step"]))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch: ASRBatch, batch_idx: int) -> None:
        if not trainer.is_global_zero:
            return
        self.count += 1
        self.sums += [float(outputs[k]) for k in ("loss", "attention", "ctc")]
        self.lengths += [
            float(batch.waveform_lengths.sum()),
            batch.waveforms.numel(),
            float(batch.token_lengths.sum()),
            batch.tokens.numel(),
        ]
        if (batch_idx + 1) % self.accumulate:
            return
        step = trainer.global_step
        assert self.bar is not None
        self.bar.update(step - self.bar.n)
        if step % self.every and step != self.max_steps:
            return
        elapsed = time.monotonic() - self.since
        loss, attention, ctc = self.sums / self.count
        eta_min = (self.max_steps - step) * elapsed / (self.count / self.accumulate) / 60
        values = {
            "step": step,
            "loss": loss,
            "attention": attention,
            "ctc": ctc,
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "audio_s_per_s": self.lengths[0] / self.rate / elapsed,
            "padding_audio": 1 - self.lengths[0] / self.lengths[1],
            "padding_tokens": 1 - self.lengths[2] / self.lengths[3],
            "epoch": batch.epoch,
        }
        self._write(trainer, values)
        log.info(
            f"step {step}  loss {loss:.3f} (attention {attention:.3f} ctc {ctc:.3f})  lr {values['lr']:.2e}  "
            f"audio {values['audio_s_per_s']:.0f} s/s  padding {100 * values['padding_audio']:.1f} % audio "
            f"{100 * values['padding_tokens']:.1f} % tokens  left {eta_min:.1f} min"
        )
        self._reset()

    def on_validation_end(self, trainer, pl_module) -> None:
        if not trainer.is_global_zero or trainer.sanity_checking:
            return
        dev = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("dev_")}
        self._write(trainer, {"step": trainer.global_step, **dev})
        log.info(f"step {trainer.global_step}  " + "  ".join(f"{k} {v:.3f}" for k, v in dev.items()))
        self.since = time.monotonic() if self.count == 0 else self.since
