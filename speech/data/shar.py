"""Lhotse Shar: a folder of shards, each a list of cuts and a tar with their audio in the same order.

A folder is data from others: nothing is extracted, no name in a tar is used as a path, and lhotse reads none of it.
"""

import logging
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np
from lhotse import MonoCut
from lhotse.cut import Cut
from tqdm import tqdm

from speech.data.manifests import read_bytes
from speech.data.sources import shar_files
from speech.data.table import Table, make_table
from speech.errors import DataError, one_line

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SharTable(Table):
    """The cuts of all shards of the folder `path`, and where in the tars their audio lies."""

    tars: np.ndarray  # [shards] names of the files
    shards: np.ndarray  # [N] int32, number of the shard
    offsets: np.ndarray  # [N] int64, first byte of the audio in its tar
    sizes: np.ndarray  # [N] int64, bytes

    ARRAYS: ClassVar[tuple[str, ...]] = (*Table.ARRAYS, "tars", "shards", "offsets", "sizes")

    @staticmethod
    def read(path: Path) -> np.ndarray:
        return np.concatenate([read_bytes(cuts) for cuts, _ in shar_files(path)])

    @property
    def groups(self) -> np.ndarray:
        return self.shards

    def cut(self, row: int) -> Cut:
        """With its audio in memory; what cannot be read is left out there, and `load_audio` refuses the rest."""
        cut = super().cut(row)
        assert isinstance(cut, MonoCut) and cut.recording is not None
        tar, data = self.path / str(self.tars[self.shards[row]]), b""
        try:
            with tar.open("rb") as file:
                file.seek(int(self.offsets[row]))
                data = file.read(int(self.sizes[row]))
        except OSError as error:
            log.warning(f"{tar}, cut {cut.id!r}: cannot be read ({error.strerror})")
        source = cut.recording.sources[0]
        source.type, source.source = "memory", data
        return cut


def make_shar_table(folder: str | Path, encode: Callable[[Cut], Sequence[int]]) -> SharTable:
    """Like `make_table`, over all shards. DataError names the shard that is cut short, missing or not plain audio."""
    folder = Path(folder)
    files = shar_files(folder)
    parts, places = [], []
    for cuts, tar in tqdm(files, f"tokens of {folder.name}", unit="shard", disable=None, delay=2):
        ids: list[str] = []

        def checked(cut: Cut, ids: list[str] = ids) -> Sequence[int]:
            sources = cut.recording.sources if isinstance(cut, MonoCut) and cut.recording else []
            if [source.type for source in sources] != ["shar"]:
                raise DataError(f"cut {cut.id}: needs one recording in the tar, a source of type shar")
            ids.append(cut.id)
            return encode(cut)

        parts.append(make_table(cuts, checked))
        places.append(find_audio(tar, ids))

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    shards = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part) for part in parts])
    before = np.cumsum([0, *(len(part.lines) for part in parts)])[shards]
    offsets, sizes = np.concatenate(places).T
    return SharTable(
        folder,
        joined("lines"),
        joined("begins") + before,
        joined("ends") + before,
        joined("seconds"),
        joined("keys"),
        joined("tokens"),
        np.append(0, np.cumsum(joined("counts"))),
        np.array([tar.name for _, tar in files]),
        shards,
        offsets,
        sizes,
    )


def find_audio(tar: Path, ids: Sequence[str]) -> np.ndarray:
    """[N, 2] offset and size of the audio of each cut, from the headers alone.

    Lhotse's layout and no other: for every cut, in order, `<id>.<format>` and `<id>.json`, plain files within the tar.
    """
    places = []
    try:
        length = tar.stat().st_size
        with tarfile.open(tar, "r:") as file:
            members = iter(file)
            for name in ids:
                for is_json in (False, True):
                    member = next(members, None)
                    if member is None or (fault := _fault(member, name, is_json, length)):
                        raise DataError(f"{tar}, cut {name!r}: {fault if member else 'the tar ends before its audio'}")
                    if not is_json:
                        places.append((member.offset_data, member.size))
            if next(members, None) is not None:
                raise DataError(f"{tar}: holds more than the audio of its {len(ids)} cuts")
    except DataError:
        raise
    except Exception as error:  # whatever tarfile stumbles over is a fault of the file
        raise DataError(f"{tar}: not a whole tar ({type(error).__name__}: {one_line(error)})") from None
    return np.array(places, np.int64)


def _fault(member: tarfile.TarInfo, cut_id: str, is_json: bool, length: int) -> str:
    path = PurePosixPath(member.name)
    if path.suffix in (".nodata", ".nometa"):
        return "has a placeholder instead of audio"
    if str(path.parent / path.stem) != cut_id or (path.suffix == ".json") != is_json:
        return f"the member {member.name!r} stands in its place"
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.sparse is not None:
        return f"{member.name!r} is no plain file but a link, a folder, a device or sparse"
    if member.size <= 0 or member.offset_data + member.size > length:
        return f"{member.name!r} has {member.size} bytes from {member.offset_data} on, the tar has {length}"
    return ""
