"""What training knows of every cut, in arrays: loaders share it after the fork and memory stays flat."""

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from lhotse.cut import Cut
from tqdm import tqdm

from speech.data.manifests import line_edges, parse_cut, read_bytes, read_cuts
from speech.errors import DataError


@dataclass(frozen=True)
class Table:
    """N cuts of one manifest. Python objects would be copied in every loader by their reference counts alone."""

    path: Path
    lines: np.ndarray  # uint8, the bytes of the manifest; mapped from the disk where it is not compressed
    begins: np.ndarray  # [N] int64, where the line of a cut begins in `lines`
    ends: np.ndarray  # [N] int64
    seconds: np.ndarray  # [N] float64
    keys: np.ndarray  # [N] uint64, hash of the id: the seed of all that is random about a cut
    tokens: np.ndarray  # int32, prompt, text and end of all cuts, one after another
    starts: np.ndarray  # [N + 1] int64, where the tokens of a cut begin

    ARRAYS: ClassVar[tuple[str, ...]] = ("begins", "ends", "seconds", "keys", "tokens", "starts")

    def __len__(self) -> int:
        return len(self.seconds)

    @property
    def counts(self) -> np.ndarray:
        """[N] tokens of each cut."""
        return np.diff(self.starts)

    @property
    def groups(self) -> np.ndarray | None:
        """[N] number of the group that a cut is best read with, if it matters."""
        return None

    def cut(self, row: int) -> Cut:
        return parse_cut(self.lines[self.begins[row] : self.ends[row]].tobytes(), self.path.parent)

    def ids(self, row: int) -> np.ndarray:  # [U] token ids
        return self.tokens[self.starts[row] : self.starts[row + 1]]

    def save(self, path: Path, made_for: str) -> None:
        """The arrays without the lines, for a training that would make the same ones."""
        with path.open("wb") as file:
            np.savez(file, made_for=np.array(made_for), **{name: getattr(self, name) for name in self.ARRAYS})

    @classmethod
    def load(cls, path: Path, manifest: Path, made_for: str) -> Self | None:
        """None where there is no such file, or one made from another manifest or with other settings."""
        try:
            with np.load(path, allow_pickle=False) as saved:
                if str(saved["made_for"]) != made_for:
                    return None
                arrays = {name: saved[name] for name in cls.ARRAYS}
        except (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile):
            return None
        return cls(manifest, cls.read(manifest), **arrays)

    @staticmethod
    def read(path: Path) -> np.ndarray:
        """What `lines` holds."""
        return read_bytes(path)


def cut_key(cut_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(cut_id.encode(), digest_size=8).digest(), "little")


def make_table(path: str | Path, encode: Callable[[Cut], Sequence[int]]) -> Table:
    """Reads and tokenises every cut; DataError names the line of a broken one, or of an id that comes twice."""
    path = Path(path)
    lines = read_bytes(path)
    begins, ends = line_edges(lines)
    rows, seconds, keys, tokens = [], [], [], []
    bar = tqdm(read_cuts(path, lines), f"tokens of {path.name}", len(ends), unit="cut", disable=None, delay=2)
    for number, cut in bar:
        try:
            keys.append(cut_key(cut.id))
            tokens.append(np.array(encode(cut), np.int32))
        except (DataError, UnicodeEncodeError) as error:  # the latter: half a surrogate pair, which JSON may hold
            raise DataError(f"{path}, line {number}: {error}") from None
        rows.append(number - 1)
        seconds.append(cut.duration)
    starts = np.append(0, np.cumsum([len(ids) for ids in tokens]))
    columns = np.array(seconds), np.array(keys, np.uint64), np.concatenate(tokens), starts
    return Table(path, lines, begins[rows], ends[rows], *columns)
