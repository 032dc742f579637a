"""Cuts to recognition batches: tokens and prompt before sampling, audio and augmentation in the loader."""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from lhotse import CutSet
from lhotse.cut import Cut
from torch import Tensor
from torch.utils.data import DataLoader

from speech.data.augment import change_speed, example_rng, mix_noise
from speech.data.config import AugmentConfig, DataConfig
from speech.data.manifests import load_audio
from speech.data.sampler import plan_epoch
from speech.errors import DataError
from speech.text.prompt import Prompt
from speech.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class ASRBatch:
    waveforms: Tensor  # [B, samples] float32 in [-1, 1], zero past each length
    waveform_lengths: Tensor  # [B] samples
    tokens: Tensor  # [B, U] prompt, text, eos, then padding
    token_lengths: Tensor  # [B]
    prompt_lengths: Tensor  # [B]
    ids: list[str]
    epoch: int
    index: int  # position in the epoch

    def to(self, device: torch.device) -> "ASRBatch":
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), Tensor)}
        return replace(self, **{name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()})


@dataclass(frozen=True)
class Tokenized:
    """Cuts that passed the length filter with their token ids: prompt, text, eos."""

    cuts: CutSet
    tokens: dict[str, list[int]]
    prompt_length: int
    dropped: int


def tokenize(cuts: CutSet, tokenizer: Tokenizer, config: DataConfig, max_tokens: int) -> Tokenized:
    """Token ids of every cut before sampling: prompt, text, end. Cuts over max_seconds are left out and counted.

    DataError names the cut without a transcript, outside the vocabulary or of more than `max_tokens` tokens.
    """
    prompt = Prompt(source_language=config.language, target_language=config.language, punctuation=config.punctuation)
    head = prompt.ids(tokenizer)
    kept, tokens, dropped = [], {}, 0
    for cut in list(cuts):
        if cut.duration > config.max_seconds:
            dropped += 1
            continue
        if not cut.supervisions:
            raise DataError(f"cut {cut.id}: no supervision, so no transcript to learn")
        try:
            tokens[cut.id] = [*head, *tokenizer.encode(cut.supervisions[0].text or ""), tokenizer.eos_id]
        except DataError as error:
            raise DataError(f"cut {cut.id}: {error}") from None
        kept.append(cut)
    if not kept:
        raise DataError(f"no cut is shorter than data.max_seconds {config.max_seconds}: {dropped} were left out")
    longest = max(tokens, key=lambda name: len(tokens[name]))
    if len(tokens[longest]) > max_tokens:
        over = sum(len(ids) > max_tokens for ids in tokens.values())
        raise DataError(
            f"cut {longest} has {len(tokens[longest])} tokens with prompt and end, the decoder takes {max_tokens} "
            f"({over} such cuts). Raise model.decoder.max_tokens, lower data.max_seconds or take them out."
        )
    return Tokenized(CutSet.from_cuts(kept), tokens, len(head), dropped)


def _ignore_signals(worker: int) -> None:
    """A signal to the whole process group is for the trainer: it saves and ends the loaders itself."""
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


class _Batches(torch.utils.data.Dataset):
    """A planned epoch; item i is batch i."""

    def __init__(self, stream: "ASRStream", plan: Sequence[list[Cut]], epoch: int, first: int):
        self.stream, self.plan, self.epoch, self.first = stream, plan, epoch, first

    def __len__(self) -> int:
        return max(0, len(self.plan) - self.first)  # another corpus, resumed inexactly, may have shorter epochs

    def __getitem__(self, i: int) -> ASRBatch:
        return self.stream.collate(self.plan[self.first + i], self.epoch, self.first + i)


class ASRStream:
    """Batches of all epochs in one sized iterable. `start` = (epoch, index) of the next batch, for exact resume."""

    def __init__(
        self,
        data: Tokenized,
        config: DataConfig,
        sample_rate: int,
        seed: int,
        total: int | None,
        augment: AugmentConfig | None = None,
    ):
        self.data, self.config, self.sample_rate, self.seed, self.augment = data, config, sample_rate, seed, augment
        self.total, self.start, self.consumed = total, (0, 0), 0
        self.noises: list[Cut] = []
        self.short = CutSet.from_cuts(cut for cut in list(data.cuts) if cut.duration <= config.short_seconds).to_eager()
        if total is not None and config.short_epochs and not len(self.short):
            raise DataError(
                f"no cut is within data.short_seconds {config.short_seconds}: raise it or set short_epochs 0"
            )

    def __len__(self) -> int:
        return self.total if self.total is not None else len(self._plan(0))

    def _plan(self, epoch: int) -> list[list[Cut]]:
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        rank = torch.distributed.get_rank() if distributed else 0
        world = torch.distributed.get_world_size() if distributed else 1
        c = self.config
        train = self.total is not None
        cuts = self.short if train and epoch < c.short_epochs else self.data.cuts
        return plan_epoch(cuts, c.batch_seconds, c.buckets, self.seed, epoch, train, rank, world)

    def __iter__(self) -> Iterator[ASRBatch]:
        epoch, index = self.start
        left = len(self) - self.consumed
        while left > 0:
            plan = self._plan(epoch)
            dataset = _Batches(self, plan[: index + left], epoch, index)
            # own generator: making a loader must not draw from the global state that dropout uses
            loader = DataLoader(
                dataset,
                batch_size=None,
                num_workers=self.config.workers,
                worker_init_fn=_ignore_signals,
                generator=torch.Generator().manual_seed(0),
            )
            for batch in loader:
                left -= 1
                yield batch
            epoch, index = epoch + 1, 0

    def _waveform(self, cut: Cut, epoch: int) -> np.ndarray:
        x = load_audio(cut, self.sample_rate)
        if self.augment is None:
            return x
        rng = example_rng(self.seed, epoch, cut.id)
        x = change_speed(x, float(rng.choice(self.augment.speeds)), self.sample_rate)
        if rng.random() < self.augment.noise_prob:
            snr = rng.uniform(*self.augment.noise_snr_db)
            if self.noises:
                noise = load_audio(self.noises[int(rng.integers(len(self.noises)))], self.sample_rate)
                noise = np.roll(noise, -int(rng.integers(len(noise))))
            else:
                noise = rng.standard_normal(x.shape).astype(np.float32)
            x = mix_noise(x, noise, snr)
        return x

    def collate(self, cuts: list[Cut], epoch: int, index: int) -> ASRBatch:
        waveforms = [torch.from_numpy(self._waveform(cut, epoch)) for cut in cuts]
        tokens = [torch.tensor(self.data.tokens[cut.id]) for cut in cuts]
        pad = torch.nn.utils.rnn.pad_sequence
        return ASRBatch(
            waveforms=pad(waveforms, batch_first=True),
            waveform_lengths=torch.tensor([len(w) for w in waveforms]),
            tokens=pad(tokens, batch_first=True),
            token_lengths=torch.tensor([len(t) for t in tokens]),
            prompt_lengths=torch.full((len(cuts),), self.data.prompt_length),
            ids=[cut.id for cut in cuts],
            epoch=epoch,
            index=index,
        )
