"""Arrays beside a manifest, such as durations, pitch and mels, by the ids of its cuts."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from speech.errors import DataError


def save_arrays(path: str | Path, arrays: Iterable[tuple[str, np.ndarray]], scale: float = 1.0) -> int:
    """Write `path`.npz of (id, [n] or [n, F]) pairs, all of one dtype; returns how many.

    `scale` is what normalised values were divided by.
    """
    pairs = list(arrays)
    if not pairs:
        raise DataError(f"{path}: no arrays to write")
    values = [np.asarray(values) for _, values in pairs]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path,
        ids=np.array([i for i, _ in pairs]),
        lengths=np.array([len(v) for v in values]),
        values=np.concatenate(values),
        scale=scale,
    )
    return len(pairs)


class Arrays(dict[str, np.ndarray]):
    """What `save_arrays` wrote, by id. DataError for a file that is none and for an id that it lacks."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        try:
            with np.load(self.path, allow_pickle=False) as file:
                ids, lengths, values = file["ids"], file["lengths"], file["values"]
                self.scale = float(file["scale"])
        except (OSError, ValueError, KeyError, EOFError, TypeError) as error:
            raise DataError(f"{path}: not a file of arrays by id ({type(error).__name__})") from None
        ends = np.cumsum(lengths)
        if len(ids) != len(lengths) or not len(ends) or ends[-1] != len(values):
            raise DataError(f"{path}: its ids, lengths and values do not fit")
        super().__init__(zip(map(str, ids), np.split(values, ends[:-1]), strict=True))

    def __missing__(self, name: str) -> np.ndarray:
        raise DataError(f"{self.path}: nothing for cut {name}; make it anew for this manifest")
