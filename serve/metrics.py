"""Counters in the text format of Prometheus."""

from collections import Counter


class Metrics:
    def __init__(self) -> None:
        self.values: Counter[str] = Counter()
        self.inside = 0  # requests that are decoded, wait or are served

    def add(self, name: str, amount: float = 1, **labels: object) -> None:
        shown = ",".join(f'{key}="{_escaped(str(value))}"' for key, value in labels.items())
        self.values[f"parlance_{name}{{{shown}}}"] += amount  # type: ignore[assignment]

    def text(self) -> str:
        lines, before = [], ""
        for key, value in sorted(self.values.items()):
            name = key.partition("{")[0]
            lines += [f"# TYPE {name} counter"] * (name != before) + [f"{key} {value:g}"]
            before = name
        return "\n".join([*lines, "# TYPE parlance_inside gauge", f"parlance_inside {self.inside}", ""])


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
