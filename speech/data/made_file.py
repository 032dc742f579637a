"""JSON files that know what they were made for, and are refused for anything else."""

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self

from speech.errors import SpeechError

log = logging.getLogger(__name__)


class MadeFile:
    """What a dataclass inherits from to be such a file; its __post_init__ may refuse values with a ValueError."""

    made_for: dict[str, Any]
    what: ClassVar[str]
    command: ClassVar[str]  # that makes it
    otherwise: ClassVar[str] = ""  # what else helps against other settings

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")  # type: ignore

    @classmethod
    def load(cls, path: str | Path, made_for: dict[str, Any], force: bool = False) -> Self:
        """SpeechError for a file that is none, or was made for other settings, unless forced."""
        try:
            found = cls(**json.loads(Path(path).read_text(encoding="utf-8")))
        except OSError as error:
            why = f"cannot be read ({error.strerror}); make them with {cls.command}"
            raise SpeechError(f"{cls.what} {path}: {why}") from None
        except (ValueError, TypeError) as error:
            raise SpeechError(f"{cls.what} {path}: not such a file ({type(error).__name__}: {error})") from None
        there = found.made_for
        changed = [name for name in {**made_for, **there} if there.get(name) != made_for.get(name)]
        told = [f"{name} was {there.get(name, 'unset')}, is {made_for.get(name, 'unset')}" for name in changed]
        fault = f"{cls.what} {path}: made for other settings: {'; '.join(told)}"
        if told and not force:
            raise SpeechError(f"{fault}. Make them again with {cls.command}{cls.otherwise}")
        if told:
            log.warning("%s: used all the same", fault)
        return found
