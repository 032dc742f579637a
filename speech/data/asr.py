"""Cuts to recognition batches: tokens and prompt before sampling, audio and augmentation in the loader."""

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from itertools import islice

import numpy as np
import torch
from lhotse.cut import Cut
from torch import Tensor
from torch.utils.data import DataLoader

from speech.data.augment import change_speed, draw_speeds, example_rng, mix_noise
from speech.data.bins import Sizes, budget_sizes
from speech.data.config import AugmentConfig, DataConfig
from speech.data.corpus import Corpus
from speech.data.manifests import load_audio
from speech.data.sampler import BatchSampler, Plan
from speech.errors import AudioError, DataError


@dataclass(frozen=True)
class ASRBatch:
    waveforms: Tensor  # [B, samples] float32 in [-1, 1], zero past each length
    waveform_lengths: Tensor  # [B] samples
    tokens: Tensor  # [B, U] prompt, text, eos, then padding
    token_lengths: Tensor  # [B]
    prompt_lengths: Tensor  # [B]
    ids: list[str]
    passes: list[int]  # passes over its corpus before each cut
    lost: list[str]  # cuts whose audio could not be read, with the reason; they are not in the batch
    place: tuple[int, int, int]  # epoch, pool, index: the state of the sampler

    def amounts(self) -> dict[str, tuple[Tensor, int]]:
        """Real and with padding: samples of audio, tokens."""
        return {
            "audio": (self.waveform_lengths.sum(), self.waveforms.numel()),
            "tokens": (self.token_lengths.sum(), self.tokens.numel()),
        }

    def to(self, device: torch.device) -> "ASRBatch":
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), Tensor)}
        return replace(self, **{name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()})


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


class ASRStream(torch.utils.data.Dataset):
    """Batches of all epochs in one sized iterable; item `plan` of the dataset is the batch of that plan.

    `start` is the place of the next batch, for exact resume. Without `total` it is one pass in fixed order.
    """

    def __init__(
        self,
        corpus: Corpus,
        config: DataConfig,
        sample_rate: int,
        seed: int,
        total: int | None,
        augment: AugmentConfig | None = None,
        sizes: Sizes | None = None,
    ):
        self.corpus, self.config, self.sample_rate, self.seed, self.augment = corpus, config, sample_rate, seed, augment
        self.sizes = sizes or budget_sizes(config.batch_seconds, config.quadratic_seconds)
        self.total, self.start, self.consumed = total, (0, 0, 0), 0
        self.max_lost = config.max_lost
        self.noises: list[Cut] = []
        self.order = corpus.order(seed, shuffle=total is not None)
        self.short = self.order
        if total is not None and config.short_epochs:
            if not (corpus.seconds[corpus.rows] <= config.short_seconds).any():
                limit = config.short_seconds
                raise DataError(f"no cut is within data.short_seconds {limit}: raise it or set short_epochs 0")
            self.short = corpus.order(seed, max_seconds=config.short_seconds)

    def make_sampler(self) -> BatchSampler:
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        return BatchSampler(
            lambda epoch: self.short if epoch < self.config.short_epochs else self.order,
            self.lengths,
            self.sizes,
            self.config.pool_cuts,
            self.seed,
            self.total is not None,
            torch.distributed.get_rank() if distributed else 0,
            torch.distributed.get_world_size() if distributed else 1,
        )

    def __len__(self) -> int:
        return self.total if self.total is not None else sum(1 for _ in self.make_sampler().epoch(0))

    def __iter__(self) -> Iterator[ASRBatch]:
        sampler = self.make_sampler()
        sampler.start = self.start
        # own generator: making a loader must not draw from the global state that dropout uses
        loader = DataLoader(
            self,
            sampler=islice(sampler, len(self) - self.consumed),  # type: ignore[arg-type]
            batch_size=None,
            num_workers=self.config.workers,
            worker_init_fn=obey_the_trainer_only,
            generator=torch.Generator().manual_seed(0),
        )
        yield from loader

    def _speeds(self, rows: np.ndarray, passes: np.ndarray) -> np.ndarray:
        if self.augment is None:
            return np.ones(len(rows))
        return draw_speeds(self.seed, passes, self.corpus.keys[rows], self.augment.speeds)

    def lengths(self, rows: np.ndarray, passes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Seconds and tokens [N] as they will be in a batch."""
        return self.corpus.seconds[rows] / self._speeds(rows, passes), self.corpus.counts[rows]

    def _waveform(self, cut: Cut, number: int, speed: float) -> np.ndarray:
        x = load_audio(cut, self.sample_rate)
        if self.augment is None:
            return x
        rng = example_rng(self.seed, number, cut.id)
        x = change_speed(x, speed, self.sample_rate)
        if rng.random() < self.augment.noise_prob:
            snr = rng.uniform(*self.augment.noise_snr_db)
            if self.noises:
                noise = load_audio(self.noises[int(rng.integers(len(self.noises)))], self.sample_rate)
                noise = np.roll(noise, -int(rng.integers(len(noise))))
            else:
                noise = rng.standard_normal(x.shape).astype(np.float32)
            x = mix_noise(x, noise, snr)
        return x

    def __getitem__(self, plan: Plan) -> ASRBatch:
        """Cuts whose audio is gone are left out and told; were it all of them, a second of silence stands for them."""
        waveforms, tokens, ids, passes, lost = [], [], [], [], []
        for row, number, speed in zip(plan.rows, plan.passes, self._speeds(plan.rows, plan.passes), strict=True):
            cut = self.corpus.cut(row)
            try:
                waveforms.append(torch.from_numpy(self._waveform(cut, int(number), float(speed))))
            except (AudioError, DataError) as error:
                lost.append(f"{cut.id}: {error}")
                continue
            tokens.append(torch.from_numpy(self.corpus.ids(row).astype(np.int64)))
            ids.append(cut.id)
            passes.append(int(number))
        if not ids:
            said = self.corpus.ids(plan.rows[0]).astype(np.int64)
            silent = np.concatenate([said[: self.corpus.prompt_length], said[-1:]])
            waveforms, tokens = [torch.zeros(self.sample_rate)], [torch.from_numpy(silent)]
            ids, passes = ["silence"], [0]
        pad = torch.nn.utils.rnn.pad_sequence
        return ASRBatch(
            waveforms=pad(waveforms, batch_first=True),
            waveform_lengths=torch.tensor([len(w) for w in waveforms]),
            tokens=pad(tokens, batch_first=True),
            token_lengths=torch.tensor([len(t) for t in tokens]),
            prompt_lengths=torch.full((len(ids),), self.corpus.prompt_length),
            ids=ids,
            passes=passes,
            lost=lost,
            place=(plan.epoch, plan.pool, plan.index),
        )
