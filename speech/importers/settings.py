"""Settings of a foreign model by dotted names: what ours cannot do is refused, nothing is guessed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from speech.errors import SpeechError

FIXED: dict[str, dict[str, list[Any]]] = yaml.safe_load(Path(__file__).with_name("fixed.yaml").read_text())
T = TypeVar("T")
MAX_SIZE = 1_000_000
MAX_COUNT = 1000  # of layers and of mel bins, built before the weights show how many there are
MAX_HZ, MAX_WINDOW_SECONDS = 192_000, 0.1


class Settings:
    """The mapping of a settings file. SpeechErrors begin with its name."""

    def __init__(self, values: Mapping[str, Any], file: str):
        self.values, self.file = values, file

    def get(self, dotted: str, default: Any = None) -> Any:
        node: Any = self.values
        for key in dotted.split("."):
            if not isinstance(node, Mapping) or key not in node:
                return default
            node = node[key]
        return node

    def wrong(self, dotted: str, what: str) -> SpeechError:
        return SpeechError(f"{self.file}: {dotted} {repr(self.get(dotted))[:60]} {what}")

    def size(self, dotted: str, limit: int = MAX_SIZE) -> int:
        value = self.get(dotted)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= limit:
            raise self.wrong(dotted, f"is not a whole number from 1 to {limit}")
        return value

    def number(self, dotted: str, default: float | None = None, low: float = 0.0, high: float = 1e9) -> float:
        value = self.get(dotted, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            raise self.wrong(dotted, f"is not a number from {low:g} to {high:g}")
        return float(value)

    def text(self, dotted: str) -> str:
        value = self.get(dotted)
        if not isinstance(value, str):
            raise self.wrong(dotted, "is not a text")
        return value

    def choose(self, dotted: str, choices: Mapping[Any, T], default: Any) -> T:
        """What `choices` has for the value. `default` is that of the foreign code, which an absent one means."""
        value = self.get(dotted, default)
        for known, ours in choices.items():
            if value == known and isinstance(value, bool) == isinstance(known, bool):
                return ours
        raise self.wrong(dotted, f"is not known here, only {', '.join(repr(known) for known in choices)}")

    def flag(self, dotted: str, default: bool) -> bool:
        return self.choose(dotted, {True: True, False: False}, default)

    def demand(self, dotted: str, value: Any) -> None:
        """A value without which it is not the model that we know."""
        self.choose(dotted, {value: value}, None)

    def check(self, fixed: Mapping[str, Sequence[Any]]) -> None:
        """What ours does and has no option for. The first of the values is what an absent one means."""
        for dotted, values in fixed.items():
            if self.get(dotted, values[0]) not in values:
                raise self.wrong(dotted, f"is not known here, only {values[0]!r}")
