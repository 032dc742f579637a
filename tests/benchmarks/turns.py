"""CPU seconds of several things, each in its turn, so that what else the machine does falls on all of them."""

import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

Name = TypeVar("Name", bound=Hashable)


def cpu_seconds(runs: Mapping[Name, Callable[[], Any]], rounds: int) -> dict[Name, list[float]]:
    """[rounds] of each, after one round that does not count."""
    times: dict[Name, list[float]] = {name: [] for name in runs}
    for i in range(rounds + 1):
        for name, run in runs.items():
            began = time.process_time()
            run()
            if i:
                times[name].append(time.process_time() - began)
    return times
