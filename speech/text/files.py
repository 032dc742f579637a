"""Files of unknown origin beside a model or a text: their size is limited, faults are told in one line."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from speech.errors import SpeechError

MAX_BYTES = 16 * 2**20  # the largest known vocabularies, of 256k pieces, take 5 MB
LINE_END = re.compile(r"\r\n|\r|\n")  # str.splitlines also parts at characters that a token may be
SPACE = "<space>"  # how a list of tokens writes the blank


@contextmanager
def told_of(what: object, kind: type[SpeechError] = SpeechError) -> Iterator[None]:
    """SpeechErrors inside come out as `kind`, beginning with what they are about."""
    try:
        yield
    except SpeechError as error:
        raise kind(f"{what}: {error}") from None


def read_file(path: Path) -> bytes:
    """SpeechError, without the name, for a file that cannot be read or is too large for its kind."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SpeechError(f"cannot be read ({error.strerror})") from None
    if len(data) > MAX_BYTES:
        raise SpeechError(f"has more than {MAX_BYTES} bytes, too many for a tokenizer")
    return data


def read_part(folder: Path, name: str) -> bytes:
    """One of the files of a folder. SpeechError begins with its name."""
    with told_of(name):
        return read_file(folder / name)


def read_json(folder: Path, name: str) -> Any:
    """What a file of a folder says. SpeechError begins with its path."""
    with told_of(folder / name):
        try:
            return json.loads(read_file(folder / name))
        except (ValueError, RecursionError):
            raise SpeechError("not JSON") from None


def read_object(folder: Path, name: str) -> dict[str, Any]:
    values = read_json(folder, name)
    if not isinstance(values, dict):
        raise SpeechError(f"{folder / name}: not a JSON object")
    return values


def read_lines(data: bytes) -> list[str]:
    """Lines of UTF-8, without their ends. SpeechError names the line that is none."""
    try:
        lines = LINE_END.split(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SpeechError(f"line {line}: not UTF-8") from None
    return lines if lines[-1] else lines[:-1]


def read_tokens(data: bytes, ids_needed: bool = False) -> list[str]:
    """Tokens by id. A line is `token id` or, where ids are not needed, `token`; `<space>` or an empty line is a blank.

    SpeechError names the line that is not UTF-8, repeats a token, or has an id out of order.
    """
    places: dict[str, int] = {}
    for i, line in enumerate(read_lines(data)):
        fields = line.split()
        token = fields[0] if fields and fields[0] != SPACE else " "
        if len(fields) > 2 or ids_needed and len(fields) < 2:
            fault = f"{line[:60]!r} is not a token and its id"
        elif len(fields) == 2 and fields[1] != str(i):
            fault = f"id {fields[1][:20]!r} where {i} is due; ids count from 0 without a gap"
        elif token in places:
            fault = f"token {token[:60]!r} stands in line {places[token] + 1} too"
        else:
            places[token] = i
            continue
        raise SpeechError(f"line {i + 1}: {fault}")
    return list(places)
