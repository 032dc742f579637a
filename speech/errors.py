"""Faults of input and settings, told in one line. Everything else is our own mistake and keeps its traceback."""

import sys
from collections.abc import Callable
from typing import NoReturn


class SpeechError(Exception):
    """Wrong usage or settings. The message names the value, the limit and the setting to change."""

    exit_code = 2


class AudioError(SpeechError):
    """An audio file that cannot be used: missing, broken, empty, too long."""

    exit_code = 1


class DataError(SpeechError):
    """A manifest or a transcript that cannot be used."""

    exit_code = 1


def one_line(error: Exception, limit: int = 300) -> str:
    """The message of a foreign error, fit to stand in ours."""
    return " ".join(str(error).split())[:limit]


def above_zero(section: str, config: object, *names: str) -> None:
    """SpeechError for the first of these settings that is not above 0."""
    for name in names:
        if getattr(config, name) <= 0:
            raise SpeechError(f"{section}.{name} {getattr(config, name)} must be above 0")


def run(main: Callable[[], int | None]) -> NoReturn:
    """The end of every program: a fault of the user's input is one line on stderr and the error's exit code."""
    try:
        code = main() or 0
    except SpeechError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)
