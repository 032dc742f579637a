"""Batch sizes that were seen to fit a device: a file that knows what it was made for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from speech.data.made_file import MadeFile


@dataclass(frozen=True)
class BatchSizes(MadeFile):
    sizes: Sequence[int]  # of each bin; 0: not even one cut fits
    made_for: dict[str, Any]  # device, model, precision, bins
    limit_bytes: float
    probes: list[dict[str, Any]]
    what, command, otherwise = "batch sizes", "speech data batch-sizes", ", or set data.force_batch_sizes"

    def __post_init__(self) -> None:
        if not all(isinstance(n, int) and n >= 0 for n in self.sizes):
            raise ValueError(f"sizes {self.sizes}")


def table(edges: Sequence[tuple[float, int]], sizes: Sequence[int], fallback: Sequence[int]) -> str:
    """Markdown; `fallback` is what the rule of data.batch_seconds would give."""
    lines = ["| seconds | tokens | batch size | by batch_seconds |", "|--:|--:|--:|--:|"]
    rows = zip(edges, sizes, fallback, strict=True)
    return "\n".join(lines + [f"| {d:g} | {u} | {n or 'does not fit'} | {rule} |" for (d, u), n, rule in rows])
