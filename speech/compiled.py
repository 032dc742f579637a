"""librosa's functions are compiled by numba at their first use and kept on disk, where two processes that do so at once
leave a cache of which every later process dies (numba issue 10128)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import librosa
from filelock import FileLock

_used: set[str] = set()


@contextmanager
def compiling(name: str) -> Iterator[None]:
    """Around a call of librosa's function: its first use in a process waits for the first uses in others. No attribute
    of librosa may be read outside, as it imports on demand and its modules compile at their import."""
    if name in _used:
        yield
        return
    with FileLock(_cache_folder() / "librosa.lock"):
        yield
    _used.add(name)


def _cache_folder() -> Path:
    """Where numba looks first: set by hand, beside the package, the user's."""
    if "NUMBA_CACHE_DIR" in os.environ:
        folder = Path(os.environ["NUMBA_CACHE_DIR"])
    elif os.access(package := Path(librosa.__file__).parent, os.W_OK):
        folder = package / "__pycache__"
    else:
        folder = Path.home() / ".cache"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
