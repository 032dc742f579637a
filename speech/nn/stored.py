"""Settings that a model folder stores."""

from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Self

from speech.errors import SpeechError


@dataclass
class Stored:
    """Settings of a model, some of them settings of a part."""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Build from a stored config.json; an unknown key is an error, not a guess."""
        try:
            return _made(cls, values)
        except TypeError as error:
            raise SpeechError(f"model config: {error}") from None


def _made(kind: type, values: dict[str, Any]):
    if not isinstance(values, dict):
        raise TypeError(f"{kind.__name__} is made of settings by name, not of {values!r}")
    made = dict(values)
    for part in fields(kind):
        if is_dataclass(part.type) and part.name in made:
            made[part.name] = _made(part.type, made[part.name])  # type: ignore
    return kind(**made)
