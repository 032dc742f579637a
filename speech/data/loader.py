"""Batches of planned cuts, loaded here or in processes of their own."""

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

T = TypeVar("T")


def load(dataset: Dataset, plans: Iterator[Any], workers: int) -> DataLoader:
    """`dataset[plan]` for all plans, in their order."""
    return DataLoader(
        dataset,
        sampler=plans,  # type: ignore[arg-type]
        batch_size=None,
        num_workers=workers,
        worker_init_fn=obey_the_trainer_only,
        # own generator: making a loader must not draw from the global state that dropout uses
        generator=torch.Generator().manual_seed(0),
    )


def moved(batch: T, device: torch.device) -> T:
    """The dataclass with its tensors on another device."""
    tensors = {name: value for name, value in vars(batch).items() if isinstance(value, torch.Tensor)}
    return replace(batch, **{name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()})  # type: ignore


def obey_the_trainer_only(worker: int) -> None:
    """A signal to the whole process group is for the trainer: it saves, and ends the loaders itself.

    Ignored altogether, the SIGTERM by which multiprocessing ends its children would be waited for without end.
    """
    theirs = {signal.SIGTERM, signal.SIGUSR1}
    signal.pthread_sigmask(signal.SIG_BLOCK, theirs)

    def watch() -> None:
        while True:
            received = signal.sigwaitinfo(theirs)
            if received.si_signo == signal.SIGTERM and received.si_pid == os.getppid():
                os._exit(0)

    threading.Thread(target=watch, daemon=True).start()
