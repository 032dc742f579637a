"""Cuts to batches of random crops for a vocoder, and to whole cuts for its validation."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from lhotse.cut import Cut
from torch import Tensor

from speech.data.augment import example_rng
from speech.data.loader import load, moved
from speech.data.recordings import Recordings
from speech.errors import AudioError, DataError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CropBatch:
    waveforms: Tensor  # [B, samples] float32 in [-1, 1], without padding
    ids: list[str]
    lost: list[str]  # cuts whose audio could not be read, with the reason; they are not in the batch
    place: tuple[int, int, int]  # epoch, 0, number of the batch: the state of the stream
    mels: Tensor | None = None  # [B, samples / hop, F], the vocoder's input; None: made from the waveforms

    def to(self, device: torch.device) -> "CropBatch":
        return moved(self, device)

    def amounts(self) -> dict[str, tuple[Tensor | int, int]]:
        """Samples, real and with padding."""
        return {"audio": (self.waveforms.numel(), self.waveforms.numel())}


class CropPlan(NamedTuple):
    cuts: list[int]
    spots: list[float]  # where each crop begins, 0 ... 1 of what its cut allows
    place: tuple[int, int, int]


class CropStream(torch.utils.data.Dataset):
    """`total` batches of `rows` crops of `samples`; without `total` each cut once, cut down to a multiple of `hop`.

    Batch i is a function of (seed, i) and every second of the corpus is equally likely in it. Cuts shorter than a
    crop are left out. `start` and `consumed` are set for exact resume.

    With `mels`, [frames, F] of whole cuts by id, crops begin at multiples of `hop` and carry the frames of the whole
    cut there, those at the edges too, which stand on samples beyond the crop.
    """

    def __init__(
        self,
        cuts: list[Cut],
        sample_rate: int,
        samples: int,
        hop: int,
        rows: int,
        seed: int,
        total: int | None,
        workers: int = 0,
        cache_seconds: float = 0.0,
        max_lost: float = 0.01,
        mels: Mapping[str, np.ndarray] | None = None,
    ):
        least = (samples if total is not None else hop) / sample_rate
        self.cuts = [cut for cut in cuts if cut.duration >= least]
        if not self.cuts:
            raise DataError(f"no cut is {least:g} s long: lower data.crop_samples {samples}")
        if len(self.cuts) < len(cuts):
            log.info(f"{len(cuts) - len(self.cuts)} of {len(cuts)} cuts are shorter than a crop of {least:g} s")
        if mels is not None:
            for cut in self.cuts:
                _ = mels[cut.id]  # one that is missing is told now
        self.sample_rate, self.samples, self.hop, self.rows, self.mels = sample_rate, samples, hop, rows, mels
        self.seed, self.total, self.workers, self.max_lost = seed, total, workers, max_lost
        self.start, self.consumed = (0, 0, 0), 0
        self.ends = np.cumsum([cut.duration for cut in self.cuts])
        self.recordings = Recordings(sample_rate, cache_seconds / max(1, workers))  # in each loader

    @property
    def hours(self) -> float:
        return float(self.ends[-1]) / 3600

    def __len__(self) -> int:
        return self.total if self.total is not None else len(self.cuts)

    def plan(self, number: int) -> CropPlan:
        if self.total is None:
            return CropPlan([number], [0.0], (0, 0, number))
        rng = example_rng(self.seed, number, "crops")
        rows = np.searchsorted(self.ends, rng.uniform(0, self.ends[-1], self.rows), side="right")
        epoch = int((number + 1) * self.rows * self.samples / self.sample_rate / self.ends[-1])
        return CropPlan(rows.tolist(), rng.random(self.rows).tolist(), (epoch, 0, number))

    def __iter__(self) -> Iterator[CropBatch]:
        yield from load(self, map(self.plan, range(self.consumed, len(self))), self.workers)

    def __getitem__(self, plan: CropPlan) -> CropBatch:
        """Cuts whose audio is gone are left out and told; were it all of them, silence stands for them."""
        crops, mels, ids, lost = [], [], [], []
        for row, spot in zip(plan.cuts, plan.spots, strict=True):
            cut = self.cuts[row]
            try:
                x = self.recordings(cut)
            except (AudioError, DataError) as error:
                lost.append(f"{cut.id}: {error}")
                continue
            length = self.samples if self.total is not None else len(x) // self.hop * self.hop
            begin = int(spot * (len(x) - length + 1))
            if self.mels is not None:
                begin -= begin % self.hop
                mel, frames = self.mels[cut.id], len(x) // self.hop
                if len(mel) != frames:
                    raise DataError(f"cut {cut.id} has {frames} frames, its mel {len(mel)}: make data.mels anew")
                mel = mel[begin // self.hop : (begin + length) // self.hop]
                mels.append(torch.from_numpy(mel.astype(np.float32)))
            crops.append(torch.from_numpy(x[begin : begin + length]))
            ids.append(cut.id)
        if not ids:
            crops, mels, ids = [torch.zeros(self.samples)], [], ["silence"]
        return CropBatch(torch.stack(crops), ids, lost, plan.place, torch.stack(mels) if mels else None)
