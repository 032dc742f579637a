"""Training steps in a process of their own, to see what they need of the memory."""

import hashlib
import json
import multiprocessing
import resource
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from speech.data.asr import ASRBatch
from speech.data.batch_search import Probe
from speech.data.sources import fingerprint
from speech.errors import SpeechError, one_line
from speech.models.aed import AED
from speech.training.aed_task import AEDTask
from speech.training.config import AEDRecipe
from speech.training.optim import make_optimizer
from speech.training.trainer import lightning_precision

PROMPT = 5
STEPS = 3
NCCL_BYTES = 512 * 2**20  # buffers of the communication between ranks, as far as seen
Lengths = tuple[float, int, int]  # seconds, tokens, batch
Answer = tuple[str, float | None, float | None, str]  # outcome, peak, seconds of a step, note


def on_cuda(recipe: AEDRecipe) -> bool:
    return recipe.train.accelerator != "cpu" and torch.cuda.device_count() > 0


def gpu() -> tuple[str, int]:
    """Name and bytes of the first GPU, asked in a process of its own: one that has met the GPU cannot be forked."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        try:
            return pool.submit(_properties).result()
        except RuntimeError:
            raise SpeechError("the GPU does not answer; see nvidia-smi, or set --train.accelerator cpu") from None


def _properties() -> tuple[str, int]:
    found = torch.cuda.get_device_properties(0)
    return found.name, found.total_memory


def device_memory(recipe: AEDRecipe) -> dict[str, Any]:
    """What decides how many cuts fit: device, model, precision, bins and the layout of the run."""
    t = recipe.train
    model = json.dumps(asdict(recipe.model), sort_keys=True)
    device: dict[str, Any] = {"device": "cpu"}
    if on_cuda(recipe):
        name, total = gpu()
        device = {"device": name, "memory GiB": round(total / 2**30, 1)}
    return device | {
        "precision": lightning_precision(t.precision, t.accelerator),
        "the model": hashlib.sha256(model.encode()).hexdigest()[:16],
        "the bins": fingerprint(recipe.data.bins)[:16],
        "train.devices": t.devices,
        "train.ctc_weight": t.ctc_weight,
        **({"optim.freeze": recipe.optim.freeze} if recipe.optim.freeze else {}),
    }


class Prober:
    """Measures one batch size of one bin; `limit` in bytes is enforced on the CPU, where nobody else does it.

    The process is forked from this one, which must not have touched the GPU: torch is loaded once and every probe has
    a context of its own.
    """

    def __init__(self, recipe: AEDRecipe, vocab_size: int, blank: int, limit: float, fraction: float, timeout: float):
        self.recipe, self.vocab_size, self.blank = recipe, vocab_size, blank
        self.limit, self.fraction, self.timeout = limit, fraction, timeout

    def __call__(self, seconds: float, tokens: int, batch: int) -> Probe:
        return self._run([(seconds, tokens, batch)] * STEPS, validate_every=0)

    def confirm(self, edges: Sequence[tuple[float, int]], sizes: Sequence[int], steps: int, seed: int) -> Probe:
        """Many steps at the sizes found, bins in random order, with a validation batch now and then."""
        fitting = [(d, u, n) for (d, u), n in zip(edges, sizes, strict=True) if n]
        drawn = torch.randint(len(fitting), (steps,), generator=torch.Generator().manual_seed(seed))
        return self._run([max(fitting), *(fitting[int(i)] for i in drawn)], validate_every=10)

    def _run(self, batches: list[Lengths], validate_every: int) -> Probe:
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=self._answer, args=(theirs, batches, validate_every), daemon=True)
        process.start()
        theirs.close()
        found = self._wait(process, ours)
        process.kill()
        process.join()
        return Probe(*batches[0], *found)

    def _wait(self, process, ours: Connection) -> Answer:
        """The child's answer, or what became of it. On the CPU it is killed before it takes the machine down."""
        end = time.monotonic() + self.timeout
        while time.monotonic() < end:
            if ours.poll(0.02):
                try:
                    return ours.recv()
                except EOFError:
                    process.join()
                    return "dead", None, None, f"exit code {process.exitcode}"
            if not on_cuda(self.recipe):
                pages = Path(f"/proc/{process.pid}/statm").read_text().split()[1]
                used = float(int(pages) * resource.getpagesize())
                if used > 1.2 * self.limit:
                    return "oom", used, None, "stopped over the limit"
        return "timeout", None, None, f"no answer in {self.timeout:g} s"

    def _answer(self, answer: Connection, batches: list[Lengths], validate_every: int) -> None:
        try:
            answer.send(("ok", *self._steps(batches, validate_every), ""))
        except (torch.OutOfMemoryError, MemoryError):
            answer.send(("oom", None, None, ""))
        except Exception as error:
            text = str(error)  # cuFFT reports full memory so, the allocator of the CPU too
            full = "CUFFT_INTERNAL_ERROR" in text or "allocate memory" in text
            answer.send(("oom" if full else "error", None, None, f"{type(error).__name__}: {one_line(error)}"))

    def _steps(self, batches: list[Lengths], validate_every: int) -> tuple[float, float]:
        """Peak bytes and seconds of the last step, after forward, backward, clipping and optimiser of each batch."""
        recipe, cuda = self.recipe, on_cuda(self.recipe)
        device = torch.device("cuda" if cuda else "cpu")
        if cuda:
            torch.cuda.set_per_process_memory_fraction(self.fraction)
        if recipe.train.threads:
            torch.set_num_threads(recipe.train.threads)
        model = AED(recipe.model, self.vocab_size).to(device)
        task = AEDTask(model, recipe, self.blank)
        optimizer = make_optimizer(model, recipe.optim, recipe.train.max_steps)["optimizer"]
        bf16 = lightning_precision(recipe.train.precision, recipe.train.accelerator) != "32-true"
        took = 0.0
        for i, lengths in enumerate(batches):
            began = time.perf_counter()
            batch = _random_batch(recipe, self.vocab_size, *lengths).to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                out = task.training_step(batch, i)
            (out["loss"] / out["sums"][-1]).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.optim.clip)
            optimizer.step()
            optimizer.zero_grad()
            if validate_every and i % validate_every == 0:
                task.eval()
                with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                    task.losses(batch, augment=False)
                task.train()
            if cuda:
                torch.cuda.synchronize()
            took = time.perf_counter() - began
        peak = torch.cuda.max_memory_reserved() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if recipe.train.devices > 1:  # the buckets of DDP
            peak += sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
            peak += NCCL_BYTES if cuda else 0
        return float(peak), took


def _random_batch(recipe: AEDRecipe, vocab_size: int, seconds: float, tokens: int, batch: int) -> ASRBatch:
    """Noise and random ids of full length."""
    samples = int(seconds * recipe.model.frontend.sample_rate)
    generator = torch.Generator().manual_seed(0)
    return ASRBatch(
        waveforms=0.1 * torch.randn(batch, samples, generator=generator),
        waveform_lengths=torch.full((batch,), samples),
        tokens=torch.randint(PROMPT, vocab_size, (batch, tokens), generator=generator),
        token_lengths=torch.full((batch,), tokens),
        prompt_lengths=torch.full((batch,), min(PROMPT, tokens - 1)),
        ids=[str(i) for i in range(batch)],
        passes=[0] * batch,
        lost=[],
        place=(0, 0, 0),
    )
