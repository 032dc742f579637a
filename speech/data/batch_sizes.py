"""Batch sizes that were seen to fit a device: a file that knows what it was made for."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from speech.data.bins import Bins, refuse_other
from speech.errors import SpeechError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchSizes:
    sizes: tuple[int, ...]  # of each bin; 0: not even one cut fits
    made_for: dict[str, Any]  # device, model, precision, bins
    limit_bytes: float
    probes: list[dict[str, Any]]

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path, bins: Bins, made_for: dict[str, Any], force: bool = False) -> "BatchSizes":
        """SpeechError for a file that is none, or made for another device, model or bins, unless forced."""
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
            found = cls(tuple(values["sizes"]), values["made_for"], values["limit_bytes"], values["probes"])
            whole = all(isinstance(n, int) and n >= 0 for n in found.sizes)
        except OSError as error:
            why = f"cannot be read ({error.strerror}); make them with speech data batch-sizes"
            raise SpeechError(f"batch sizes {path}: {why}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise SpeechError(f"batch sizes {path}: not such a file ({type(error).__name__}: {error})") from None
        try:
            refuse_other("batch sizes", path, found.made_for, made_for, "speech data batch-sizes")
        except SpeechError as error:
            if not force:
                raise SpeechError(f"{error}, or set data.force_batch_sizes") from None
            log.warning("%s: used all the same", error)
        if not whole or len(found.sizes) != len(bins.edges):
            raise SpeechError(f"batch sizes {path}: {len(found.sizes)} sizes for {len(bins.edges)} bins")
        return found


def table(edges: Sequence[tuple[float, int]], sizes: Sequence[int], fallback: Sequence[int]) -> str:
    """Markdown; `fallback` is what the rule of data.batch_seconds would give."""
    lines = ["| seconds | tokens | batch size | by batch_seconds |", "|--:|--:|--:|--:|"]
    rows = zip(edges, sizes, fallback, strict=True)
    return "\n".join(lines + [f"| {d:g} | {u} | {n or 'does not fit'} | {rule} |" for (d, u), n, rule in rows])
