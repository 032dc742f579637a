"""Bulk work: which recordings, and a file of results that tells what is done."""

import errno
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path

from speech.errors import AudioError, SpeechError
from speech.transcript import Transcript

SUFFIXES = set(".wav .flac .ogg .oga .opus .mp3 .aif .aiff .sph .m4a .mp4 .mov .mkv .webm .aac".split())
BEGINNING = b'{"path"'  # of each line


def recordings(audio: Sequence[str], listed: str | None) -> list[str]:
    """Paths as given, folders replaced by what lies in them and is audio by its suffix, then the lines of a list."""
    found: list[str] = []
    for path in audio:
        found.extend(_inside(path) if os.path.isdir(path) else [path])
    if listed is not None:
        try:
            with sys.stdin.buffer if listed == "-" else open(listed, "rb") as file:
                found.extend(os.fsdecode(line) for line in map(bytes.strip, file) if line)
        except OSError as error:
            raise SpeechError(f"--list {listed}: cannot be read ({error.strerror})") from None
    if not found:
        raise SpeechError("no audio: give files, folders, - for stdin, or --list FILE with a path on each line")
    return found


def _inside(folder: str) -> list[str]:
    def refuse(error: OSError) -> None:
        raise SpeechError(f"{error.filename}: cannot be read ({error.strerror})")

    files = (os.path.join(root, name) for root, _, names in os.walk(folder, onerror=refuse) for name in names)
    found = sorted(path for path in files if os.path.splitext(path)[1].lower() in SUFFIXES)
    if not found:
        raise SpeechError(f"{folder}: no file in this folder ends like audio ({' '.join(sorted(SUFFIXES))})")
    return found


def share(paths: Iterable[str], shard: str) -> list[str]:
    """Each path once; shard i/n has those whose hash says so, whatever else is in the list."""
    number, _, count = shard.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise SpeechError(f"--shard {shard} is not i/n with i from 1 to n")

    def part(path: str) -> int:
        return int.from_bytes(blake2b(os.fsencode(path), digest_size=8).digest()) % int(count) + 1

    return [path for path in dict.fromkeys(str(Path(path)) for path in paths) if part(path) == int(number)]


def to_line(path: str, found: Transcript | AudioError, segments: bool = False, words: bool = False) -> bytes:
    """path, text, language, duration in seconds, confidence; or path and error."""
    row = {"path": path}
    if isinstance(found, AudioError):
        row["error"] = str(found)
    else:
        row |= found.to_dict()
        if not segments:
            del row["segments"]
            row |= {"words": [asdict(word) for word in found.words]} if words else {}
    # A name that is no UTF-8 has surrogates in Python; as backslashes they are JSON's own escapes.
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


class Stopped(SpeechError):
    """The results cannot be appended to; the same command goes on later."""

    exit_code = 75


class Results:
    """A JSON line for each recording, in a file that one run at a time may hold. For Linux and macOS.

    `done` has the paths that are in it, True for failed ones. Lines are appended whole: what a kill left of the last
    one is cut off, and a file that holds anything else is refused and left as it was.
    """

    def __init__(self, path: str | Path):
        import fcntl  # not on Windows

        self.path = Path(path)
        self.done: dict[str, bool] = {}
        if self.path.exists() and not self.path.is_file():
            raise SpeechError(f"{path}: is no regular file; give another --jsonl")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.file = open(self.path, "a+b", buffering=0)
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SpeechError(f"{path}: another run writes to it; give each --shard its own --jsonl") from None
        except OSError as error:
            raise SpeechError(f"{path}: cannot be written ({error.strerror}); give another --jsonl") from None
        self.file.truncate(self._read())

    def __enter__(self) -> "Results":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def _read(self) -> int:
        """Bytes of the whole lines."""
        size = 0
        with open(self.path, "rb") as file:
            for number, line in enumerate(file, 1):
                whole = line.endswith(b"\n")
                if not whole and BEGINNING.startswith(line[: len(BEGINNING)]):
                    break
                try:
                    self._note(line if whole else b"")
                except (ValueError, TypeError, KeyError, RecursionError):
                    raise SpeechError(f"{self.path}: line {number} is no result; give another --jsonl") from None
                size += len(line)
        return size

    def _note(self, line: bytes) -> None:
        row = json.loads(line)
        self.done[row["path"]] = "error" in row

    def add(self, line: bytes) -> None:
        """Stopped where the disk is full."""
        try:
            if self.file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise Stopped(f"{self.path}: cannot be written ({error.strerror}); run again to go on") from None
        self._note(line)
