"""2D buckets: pairs of edges in (seconds, tokens) (arXiv 2503.05931), which cuts they take, how they are found."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from speech.errors import DataError, SpeechError

OUTLIER = 4.0  # standard deviations above the mean tokens per second of a bin: such cuts run out of memory
Sizes = Callable[[np.ndarray, np.ndarray], np.ndarray]  # longest seconds [N], most tokens [N] -> cuts in a batch [N]
FITS = ("", "longer than the last edge", "more tokens than the edges of its bin", "more tokens a second than its bin")


@dataclass(frozen=True)
class Bins:
    """Edges are inclusive and increase; a cut belongs to the first bin of seconds that takes it, then of tokens."""

    seconds: tuple[float, ...]
    tokens: tuple[tuple[int, ...], ...]  # for each bin of seconds; the last one is not below that of the bin before
    max_tps: tuple[float, ...]  # tokens per second, for each bin of seconds
    made_for: dict[str, Any]  # tokenizer, prompt and filters
    report: dict[str, Any]

    @cached_property
    def edges(self) -> list[tuple[float, int]]:
        return [(d, u) for d, tokens in zip(self.seconds, self.tokens, strict=True) for u in tokens]

    @cached_property
    def _first(self) -> np.ndarray:  # where the token bins of a bin of seconds begin in `edges`
        return np.concatenate([[0], np.cumsum([len(tokens) for tokens in self.tokens])])

    def lookup(self, seconds: np.ndarray, tokens: np.ndarray, strict: bool = True) -> np.ndarray:
        """Index into `edges` of each cut [N], -1 where nothing takes it; strict: within its bin of seconds only.

        The limit on tokens per second holds in both modes; NeMo 3.0 forgets a list of them in the lenient one.
        """
        index, fault = self._find(seconds, tokens, strict)
        return np.where(fault, -1, index)

    def faults(self, seconds: np.ndarray, tokens: np.ndarray, strict: bool = True) -> np.ndarray:
        """Index into FITS of each cut [N]: 0 where it is taken."""
        return self._find(seconds, tokens, strict)[1]

    def covering(self, seconds: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Index of the first bin with both edges at or above, whatever the tokens per second; -1 without one."""
        return self._search(seconds, tokens, strict=False)

    def _find(self, seconds, tokens, strict) -> tuple[np.ndarray, np.ndarray]:
        home = np.searchsorted(self.seconds, seconds)
        long = home == len(self.seconds)
        fast = tokens / seconds > np.asarray(self.max_tps)[np.where(long, 0, home)]
        index = self._search(seconds, tokens, strict)
        return index, np.select([long, fast, index < 0], [1, 3, 2], 0)

    def _search(self, seconds, tokens, strict) -> np.ndarray:
        home = np.searchsorted(self.seconds, seconds)
        index = np.full(len(home), -1)
        for i, edges in enumerate(self.tokens):
            open_ = (home == i) if strict else (home <= i) & (index < 0)
            place = np.searchsorted(edges, tokens[open_])
            index[open_] = np.where(place < len(edges), self._first[i] + place, -1)
        return index

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path, made_for: dict[str, Any]) -> "Bins":
        """SpeechError for a file that is no bins file, or was made for another tokenizer, prompt or filter."""
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
            tokens = tuple(tuple(row) for row in values["tokens"])
            bins = cls(tuple(values["seconds"]), tokens, tuple(values["max_tps"]), values["made_for"], values["report"])
            assert len(bins.max_tps) == len(bins.seconds) == len(bins.tokens), "lists of different lengths"
        except OSError as error:
            raise SpeechError(
                f"bins {path}: cannot be read ({error.strerror}); make them with speech data bins"
            ) from None
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            raise SpeechError(f"bins {path}: not a bins file ({type(error).__name__}: {error})") from None
        refuse_other("bins", path, bins.made_for, made_for, "speech data bins")
        return bins


def refuse_other(what: str, path: str | Path, there: dict[str, Any], here: dict[str, Any], remedy: str) -> None:
    """SpeechError that names what a stored file was made for and what is wanted of it."""
    changed = [name for name in {**here, **there} if there.get(name) != here.get(name)]
    if changed:
        told = "; ".join(f"{name} was {there.get(name, 'unset')}, is {here.get(name, 'unset')}" for name in changed)
        raise SpeechError(f"{what} {path}: made for other settings: {told}. Make them again with {remedy}")


def _equal_parts(lengths: np.ndarray, parts: int) -> list[float]:
    """Edges between `parts` bins of equal sums over sorted lengths: where the sum before a length exceeds the share."""
    sums = np.cumsum(lengths)
    share, base, edges = sums[-1] / parts, 0.0, []
    while True:
        # the tolerance keeps rounding from opening a bin too late
        i = int(np.searchsorted(sums, (base + share) * (1 + 1e-12), side="right")) + 1
        if i >= len(lengths):
            return edges
        edges.append(float(lengths[i]))
        base = sums[i - 1]


def _up(seconds: float) -> float:
    """Rounded up to milliseconds: an edge below its own cut would send it away."""
    up = math.ceil(seconds * 1000) / 1000
    return up if up >= seconds else math.ceil(seconds * 1000 + 1) / 1000


def estimate_bins(
    seconds: np.ndarray, tokens: np.ndarray, buckets: int, sub_buckets: int, made_for: dict[str, Any] | None = None
) -> Bins:
    """Bins of equal audio, each cut into bins of equal tokens, over cuts with lengths in seconds and tokens [N].

    Cuts far above the tokens per second of their bin are left out of it; `faults` of the same cuts finds the same.
    """
    if not len(seconds):
        raise DataError("no cuts to make bins from")
    if buckets < 1 or sub_buckets < 1:
        raise SpeechError(f"buckets {buckets} and sub_buckets {sub_buckets} must be at least 1")
    order = np.lexsort((tokens, seconds))
    seconds, tokens = seconds[order], tokens[order]
    inner = [_up(edge) for edge in _equal_parts(seconds, buckets)]
    edges = sorted({*inner, _up(float(seconds[-1]))})
    # bins that fell together keep their share of the token bins
    merged = [max(1, inner.count(edge) + (edge == edges[-1])) for edge in edges]
    home = np.searchsorted(edges, seconds)
    kept_edges, token_edges, max_tps, most = [], [], [], 0
    for i, edge in enumerate(edges):
        mine, tps = tokens[home == i], (tokens / seconds)[home == i]
        if not len(mine):
            continue
        spread = tps.std()
        survives = tps - tps.mean() <= OUTLIER * spread if spread > 0 else np.ones(len(tps), bool)
        mine = np.sort(mine[survives])
        parts = {int(u) for u in _equal_parts(mine, sub_buckets * merged[i])}
        most = max(most, int(mine[-1]))
        kept_edges.append(edge)
        token_edges.append(tuple(sorted({u for u in parts if u < most} | {most})))
        max_tps.append(float(tps[survives].max()))
    return Bins(tuple(kept_edges), tuple(token_edges), tuple(max_tps), made_for or {}, {})


def budget_sizes(batch_seconds: float, quadratic_seconds: float) -> Sizes:
    """Cuts within batch_seconds of audio, each counted d + d^2 / quadratic_seconds long (0: plain d); at least one."""

    def sizes(seconds: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        cost = seconds + seconds**2 / quadratic_seconds if quadratic_seconds else seconds
        return np.maximum(1, np.floor(batch_seconds / cost + 1e-9)).astype(np.int64)

    return sizes


def profile_sizes(bins: Bins, batch_sizes: Sequence[int]) -> Sizes:
    """Batch sizes found for the bins; a batch counts as the first bin that covers its longest and its most tokens.

    0 where no bin covers both: such cuts go into different batches.
    """
    table = np.array([*batch_sizes, 0])

    def sizes(seconds: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        return table[bins.covering(seconds, tokens)]

    return sizes
