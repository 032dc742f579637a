"""Cuts to recognition batches: tokens and prompt before sampling, audio and augmentation in the loader."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from lhotse.cut import Cut
from torch import Tensor

from speech.data.augment import change_speed, change_tempo, draw, example_rng, mix_noise
from speech.data.bins import Sizes, budget_sizes
from speech.data.config import AugmentConfig, DataConfig
from speech.data.corpus import Corpus
from speech.data.loader import load, moved
from speech.data.recordings import Recordings
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
        return moved(self, device)


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
        recordings: Recordings | None = None,
    ):
        self.corpus, self.config, self.sample_rate, self.seed, self.total = corpus, config, sample_rate, seed, total
        self.augment = augment or AugmentConfig(speeds=[1.0], noise_prob=0.0)
        self.sizes = sizes or budget_sizes(config.batch_seconds, config.quadratic_seconds)
        self.recordings = recordings or Recordings(sample_rate)
        self.start, self.consumed = (0, 0, 0), 0
        self.max_lost = config.max_lost
        self.noises: list[Cut] = []
        self.order = corpus.order(seed, shuffle=total is not None)
        self.short = self.order
        if total is not None and config.short_epochs:
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
        yield from load(self, islice(sampler, len(self) - self.consumed), self.config.workers)

    def _drawn(self, rows: np.ndarray, passes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Speeds and tempos [N]."""
        keys = self.corpus.keys[rows]
        speeds = draw("speed", self.seed, passes, keys, self.augment.speeds)
        return speeds, draw("tempo", self.seed, passes, keys, self.augment.tempos)

    def lengths(self, rows: np.ndarray, passes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Seconds and tokens [N] as they will be in a batch."""
        speeds, tempos = self._drawn(rows, passes)
        return self.corpus.seconds[rows] / (speeds * tempos), self.corpus.counts[rows]

    def _waveform(self, cut: Cut, number: int, speed: float, tempo: float) -> np.ndarray:
        rng = example_rng(self.seed, number, cut.id)
        x = change_tempo(change_speed(self.recordings(cut), speed, self.sample_rate), tempo, self.sample_rate)
        if rng.random() < self.augment.noise_prob:
            snr = rng.uniform(*self.augment.noise_snr_db)
            if self.noises:
                noise = self.recordings(self.noises[int(rng.integers(len(self.noises)))])
                noise = np.roll(noise, -int(rng.integers(len(noise))))
            else:
                noise = rng.standard_normal(x.shape).astype(np.float32)
            x = mix_noise(x, noise, snr)
        return x

    def __getitem__(self, plan: Plan) -> ASRBatch:
        """Cuts whose audio is gone are left out and told; were it all of them, a second of silence stands for them."""
        found, lost = [], []
        drawn = self._drawn(plan.rows, plan.passes)
        for row, number, speed, tempo in zip(plan.rows, plan.passes, *drawn, strict=True):
            cut = self.corpus.cut(row)
            try:
                x = self._waveform(cut, int(number), float(speed), float(tempo))
                found.append((x, self.corpus.ids(row), cut.id, int(number)))
            except (AudioError, DataError) as error:
                lost.append(f"{cut.id}: {error}")
        if not found:
            said = self.corpus.ids(plan.rows[0])
            silent = np.append(said[: self.corpus.prompt_length], said[-1])
            found = [(np.zeros(self.sample_rate, np.float32), silent, "silence", 0)]
        waveforms, tokens, ids, passes = map(list, zip(*found, strict=True))
        pad = torch.nn.utils.rnn.pad_sequence
        return ASRBatch(
            waveforms=pad([torch.from_numpy(x) for x in waveforms], batch_first=True),
            waveform_lengths=torch.tensor([len(x) for x in waveforms]),
            tokens=pad([torch.from_numpy(t.astype(np.int64)) for t in tokens], batch_first=True),
            token_lengths=torch.tensor([len(t) for t in tokens]),
            prompt_lengths=torch.full((len(ids),), self.corpus.prompt_length),
            ids=ids,
            passes=passes,
            lost=lost,
            place=(plan.epoch, plan.pool, plan.index),
        )
