"""Tokenised cuts of one or several manifests, with what every filter left out."""

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lhotse.cut import Cut

from speech.data.bins import FITS, Bins, profile_sizes
from speech.data.config import DataConfig
from speech.data.order import Order
from speech.data.shar import SharTable, make_shar_table
from speech.data.sources import Mixture, Source, fingerprint, read_sources, shar_files
from speech.data.table import Table, make_table
from speech.errors import DataError
from speech.text.base import BaseTokenizer
from speech.text.prompt import Prompt

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Corpus:
    """Rows are counted through all tables; `kept` and `shares` are by source."""

    tables: list[Table]
    kept: list[np.ndarray]  # rows that passed the filters
    shares: list[float]  # of the cuts drawn
    dropped: dict[str, tuple[int, float]]  # reason -> cuts, hours
    prompt_length: int
    seconds: np.ndarray  # [N] before changes of speed
    counts: np.ndarray  # [N] tokens with prompt and end
    keys: np.ndarray  # [N] uint64

    def _place(self, row: int) -> tuple[Table, int]:
        for table in self.tables:
            if row < len(table):
                return table, row
            row -= len(table)
        raise IndexError(row)

    def cut(self, row: int) -> Cut:
        table, i = self._place(row)
        return table.cut(i)

    def ids(self, row: int) -> np.ndarray:  # [U] token ids
        table, i = self._place(row)
        return table.ids(i)

    @property
    def rows(self) -> np.ndarray:
        """Kept rows of all sources."""
        return np.concatenate(self.kept)

    @property
    def tokens_per_second(self) -> float:
        """Of the text, without prompt and end."""
        rows = self.rows
        return (self.counts[rows] - self.prompt_length - 1).sum() / self.seconds[rows].sum()

    def order(self, seed: int, shuffle: bool = True, max_seconds: float = float("inf")) -> Order:
        """Epochs over the kept rows of up to max_seconds; cuts of a shard stay together."""
        parts, first = [], 0
        for table, kept, share in zip(self.tables, self.kept, self.shares, strict=True):
            rows = kept[self.seconds[kept] <= max_seconds]
            if len(rows):
                parts.append((rows, share, None if table.groups is None else table.groups[rows - first]))
            first += len(table)
        if not parts:
            raise DataError(f"no cut is within data.short_seconds {max_seconds}: raise it or set short_epochs 0")
        sources, shares, groups = zip(*parts, strict=True)
        return Order(sources, shares, seed, shuffle, groups)

    def __str__(self) -> str:
        rows = self.rows
        told = [f"{len(rows)} cuts, {self.seconds[rows].sum() / 3600:.2f} h"]
        told += [f"left out {n} ({hours:.2f} h) {reason}" for reason, (n, hours) in self.dropped.items()]
        if len(self.kept) > 1:
            parts = (f"{t.path.name} {100 * p:.1f} %" for t, p in zip(self.tables, self.shares, strict=True))
            told.append(f"drawn from {', '.join(parts)}")
        return "; ".join(told)


def made_for(tokenizer: BaseTokenizer, config: DataConfig, max_tokens: int) -> dict[str, Any]:
    """What decides the lengths of the cuts that bins are made from."""
    return {
        "tokenizer": tokenizer.fingerprint,
        "data.language": config.language,
        "data.punctuation": config.punctuation,
        "data.prompt_format": config.prompt_format,
        "data.max_seconds": config.max_seconds,
        "model.decoder.max_tokens": max_tokens,
        "data.augment.speeds": sorted(config.augment.speeds),
        "data.augment.tempos": sorted(config.augment.tempos),
    }


def prompt_ids(tokenizer: BaseTokenizer, config: DataConfig) -> list[int]:
    prompt = Prompt(source_language=config.language, target_language=config.language, punctuation=config.punctuation)
    return prompt.ids(tokenizer, config.prompt_format)


def read_tables(sources: Source | Mixture, tokenizer: BaseTokenizer, config: DataConfig) -> list[Table]:
    """Token ids of every cut before sampling: prompt, text, end; those stored beside the bins if they are the same.

    DataError names the line of a cut without a transcript or with characters outside the vocabulary.
    """
    head = prompt_ids(tokenizer, config)

    def encode(cut: Cut) -> list[int]:
        if not cut.supervisions:
            raise DataError(f"cut {cut.id}: no supervision, so no transcript to learn")
        try:
            return [*head, *tokenizer.encode(cut.supervisions[0].text or "", config.language), tokenizer.eos_id]
        except DataError as error:
            raise DataError(f"cut {cut.id}: {error}") from None

    tables = []
    for i, source in enumerate(sources.sources):
        stored = table_path(config.bins, i) if config.bins else None
        kind, make = (SharTable, make_shar_table) if source.shar else (Table, make_table)
        table = kind.load(stored, source.manifest, _key(source, tokenizer, head)) if stored else None
        tables.append(table or make(source.manifest, encode))
    return tables


def save_tables(
    tables: Sequence[Table], sources: Source | Mixture, tokenizer: BaseTokenizer, config: DataConfig
) -> None:
    """Beside the bins, for a training that would read the same."""
    head = prompt_ids(tokenizer, config)
    for i, (source, table) in enumerate(zip(sources.sources, tables, strict=True)):
        table.save(table_path(config.bins, i), _key(source, tokenizer, head))


def table_path(bins: str | Path, source: int) -> Path:
    return Path(bins).with_suffix(f".{source}.npz")


def _key(source: Source, tokenizer: BaseTokenizer, head: Iterable[int]) -> str:
    # places in a tar are stored too, and a tar made anew may have others within an equal size
    times = [tar.stat().st_mtime_ns for _, tar in shar_files(source.manifest)] if source.shar else []
    return json.dumps([fingerprint(source.manifest), tokenizer.fingerprint, list(head), *times])


def read_corpus(
    path: str | Path,
    tokenizer: BaseTokenizer,
    config: DataConfig,
    max_tokens: int,
    bins: Bins | None = None,
    paces: Sequence[float] = (1.0,),
    batch_sizes: Sequence[int] | None = None,
    tables: list[Table] | None = None,
) -> Corpus:
    """The cuts of a manifest or list of them. Filters count what they leave out; a cut stays if it fits at every pace.

    `tables` are those of `read_tables` where they have been read before.
    """
    sources = read_sources(path)
    if tables is None:
        tables = read_tables(sources, tokenizer, config)
    columns = ([getattr(table, name) for table in tables] for name in ("seconds", "counts", "keys"))
    seconds, counts, keys = map(np.concatenate, columns)
    reasons = {
        f"longer than data.max_seconds {config.max_seconds:g}": seconds > config.max_seconds,
        f"over model.decoder.max_tokens {max_tokens}": counts > max_tokens,
    }
    if bins is not None:
        faults = np.max([bins.faults(seconds / pace, counts, config.strict) for pace in paces], axis=0)
        reasons |= {text: faults == i for i, text in enumerate(FITS) if i}
    if bins is not None and batch_sizes is not None:
        sizes = profile_sizes(bins, batch_sizes)
        unfit = [sizes(seconds / pace, counts) == 0 for pace in paces]
        reasons["in bins of which not even one cut fits the memory"] = np.any(unfit, axis=0)
    good, dropped = np.ones(len(seconds), bool), {}
    for reason, bad in reasons.items():
        if (good & bad).any():
            dropped[reason] = (int((good & bad).sum()), float(seconds[good & bad].sum() / 3600))
        good &= ~bad
    if not good.any():
        raise DataError(f"{path}: no cut is left; " + ", ".join(f"{n} {reason}" for reason, (n, _) in dropped.items()))
    first = np.cumsum([0, *map(len, tables)])
    kept = [first[i] + np.flatnonzero(good[first[i] : first[i + 1]]) for i in range(len(tables))]
    shares = sources.shares({source.manifest: len(rows) for source, rows in zip(sources.sources, kept, strict=True)})
    prompt_length = len(prompt_ids(tokenizer, config))
    corpus = Corpus(tables, kept, shares, dropped, prompt_length, seconds, counts, keys)
    order = np.argsort(keys)
    if len(twice := order[1:][np.diff(keys[order]) == 0]):
        raise DataError(f"{path}: the id '{corpus.cut(twice[0]).id}' stands in two manifests or shards of it")
    return corpus
