"""How many cuts of each bin fit in memory: few probes, led by the slope of the memory over the batch size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from speech.errors import SpeechError

MOST_PROBES = 6  # of one bin
SHRINK = (0.8, 0.8, 0.8, 0.3, 0.1, 0.1)  # after so many failures in a row: a guess from noise can be far off
MARGIN = 0.97  # of what the slope promises: memory is not quite linear
GAP = 0.05  # a size this close to the limit, or to one that failed, is good enough


@dataclass(frozen=True)
class Probe:
    """Some training steps on one batch in a process of its own."""

    seconds: float
    tokens: int
    batch: int
    outcome: str  # ok, oom, error, dead, timeout
    peak: float | None = None  # bytes, where it is known
    step_seconds: float | None = None
    note: str = ""


Measure = Callable[[float, int, int], Probe]  # seconds, tokens, batch


@dataclass(frozen=True)
class Line:
    """Memory of a bin: base + slope * batch, in bytes."""

    base: float
    slope: float


def find_batch_sizes(
    edges: Sequence[tuple[float, int]], measure: Measure, limit: float, found: Callable[[int, int], None] | None = None
) -> tuple[list[int], list[Probe]]:
    """Batch size for each bin [seconds, tokens] within `limit` bytes, and all probes. 0: not even one cut fits.

    The largest bin comes first; what was learnt tells where to begin in the next. A process that died or hung is
    tried again once, then it is a SpeechError, as is any other failure: a size is never guessed. `found(bin, size)`
    is called for every answer.
    """
    probes: list[Probe] = []
    lines: dict[int, Line] = {}
    sizes = [0] * len(edges)

    def run(seconds: float, tokens: int, batch: int) -> Probe:
        for last in (False, True):
            probe = measure(seconds, tokens, batch)
            probes.append(probe)
            if probe.outcome == "ok" and probe.peak is not None and probe.peak > limit:
                probe = Probe(seconds, tokens, batch, "oom", probe.peak)
            if probe.outcome in ("ok", "oom"):
                return probe
            if last or probe.outcome == "error":
                break
        where = f"{batch} cuts of {seconds:g} s and {tokens} tokens"
        raise SpeechError(f"the probe with {where} ended with '{probe.outcome}': {probe.note or 'no message'}")

    for i in sorted(range(len(edges)), key=lambda i: edges[i], reverse=True):
        seconds, tokens = edges[i]
        guess = _predict(edges, lines, i)
        sizes[i], line = _search(lambda n, d=seconds, u=tokens: run(d, u, n), limit, guess)
        if line is not None:
            lines[i] = line
        if found is not None:
            found(i, sizes[i])
    return monotone(edges, sizes), probes


def monotone(edges: Sequence[tuple[float, int]], sizes: Sequence[int]) -> list[int]:
    """What fits in a bin fits in every bin with lower edges."""
    return [max(n for (d, u), n in zip(edges, sizes, strict=True) if d >= mine[0] and u >= mine[1]) for mine in edges]


def _search(run: Callable[[int], Probe], limit: float, guess: Line | None) -> tuple[int, Line | None]:
    """Largest size that was seen to fit, with the line of memory around it; 0 where one cut does not fit."""
    ok, fail = 0, None
    points: dict[int, float] = {}
    if guess is not None:
        points[0] = guess.base
    n = 1 if guess is None else max(1, int(MARGIN * (limit - guess.base) / guess.slope))
    failures = 0
    for _ in range(MOST_PROBES):
        probe = run(n)
        if probe.peak is not None:
            points[n] = probe.peak
        if probe.outcome == "ok":
            ok = max(ok, n)
        else:
            fail = n if fail is None else min(fail, n)
            failures += 1
        if fail == 1:
            return 0, None
        following = _next(ok, fail, points, limit, SHRINK[0 if ok else failures - 1])
        if following is None:
            break
        n = following
    if not ok:  # six failures in a row: too far from the truth to be believed
        raise SpeechError(f"no size found: {fail} cuts do not fit, smaller ones were not tried")
    return ok, _line(points, limit)


def _line(points: dict[int, float], limit: float) -> Line | None:
    """Through the two largest sizes with known memory, best of those that fit: what failed may lie behind a jump."""
    fitting = {n: peak for n, peak in points.items() if peak <= limit}
    points = fitting if len(fitting) > 1 else points
    if len(points) < 2:
        return None
    (m, p), (n, q) = sorted(points.items())[-2:]
    slope = (q - p) / (n - m)
    return Line(q - slope * n, slope) if slope > 0 else None


def _next(ok: int, fail: int | None, points: dict[int, float], limit: float, shrink: float) -> int | None:
    """The size to try next, None when `ok` is close enough."""
    if fail is not None and fail - ok <= max(1, GAP * fail):
        return None
    line = _line(points, limit)
    most = (limit - line.base) / line.slope if line is not None else None  # what fits, if memory were this line
    if fail is None:
        if most is None:
            return 4 * max(1, ok)
        return None if ok >= (1 - GAP) * most or int(MARGIN * most) <= ok else int(MARGIN * most)
    if most is not None and ok < int(MARGIN * most) < fail:
        return int(MARGIN * most)
    # the line is wrong: memory jumps somewhere below the size that failed
    return max(1, ok + 1, int(shrink * fail)) if ok < 0.75 * fail else (ok + fail) // 2


def _predict(edges: Sequence[tuple[float, int]], lines: dict[int, Line], i: int) -> Line | None:
    """Base and slope of a bin from those before it: a fit over (T, T^2, U, U^2, T U), or in proportion to seconds."""
    if not lines:
        return None
    base = float(np.median([line.base for line in lines.values()]))
    last = max(lines, key=lambda j: -abs(edges[j][0] - edges[i][0]))
    slope = lines[last].slope * edges[i][0] / edges[last][0]
    if len(lines) >= 6:
        features = np.array([(t, t * t, u, u * u, t * u) for t, u in (edges[j] for j in [*lines, i])], float)
        features /= features.max(0)
        known = np.array([line.slope for line in lines.values()])
        ridge = 1e-3 * np.eye(features.shape[1])
        weights = np.linalg.lstsq(
            np.vstack([features[:-1], ridge]), np.concatenate([known, np.zeros(len(ridge))]), rcond=None
        )[0]
        fitted = float(features[-1] @ weights)
        slope = fitted if 0.5 * slope < fitted < 2 * slope else slope
    return Line(base, slope)
