"""What `data.train` names: one manifest, or a YAML list of corpora with weights and temperature."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from speech.data.config import SUFFIXES
from speech.errors import DataError

GROUP_KEYS, LEAF_KEYS = {"sources", "weight", "temperature"}, {"manifest", "weight"}


@dataclass(frozen=True)
class Source:
    manifest: Path
    shares: tuple[tuple[int, float, float | None], ...]  # (group, temperature, weight) from the outer level in


def read_sources(path: str | Path) -> list[Source]:
    """Corpora of a .yaml, else the manifest itself. DataError names an unknown key or a value of the wrong kind.

    sources: [{manifest: a.jsonl, weight: 2}, {sources: [...], temperature: 0.5}], temperature: 1. Paths count from
    the file's folder; a weight is any number above 0, without one it is the number of cuts.
    """
    path = Path(path)
    if path.suffix not in (".yaml", ".yml"):
        return [Source(path, ((0, 1.0, None),))]
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    found: list[Source] = []
    _walk(tree, path, "", (), found)
    names = [source.manifest for source in found]
    if twice := {str(name) for name in names if names.count(name) > 1}:
        raise DataError(f"{path}: {', '.join(sorted(twice))} stands there twice; give it a larger weight instead")
    return found


def _walk(node: Any, path: Path, where: str, above: tuple, found: list[Source]) -> None:
    what = f"{path}{f', {where}' if where else ''}"
    if not isinstance(node, Mapping):
        raise DataError(f"{what}: {node!r} is not a mapping with 'manifest' or 'sources'")
    leaf = "manifest" in node
    known = LEAF_KEYS if leaf else GROUP_KEYS
    if unknown := [str(key) for key in node if key not in known]:
        raise DataError(f"{what}: unknown key {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    for key in ("weight", "temperature"):
        value = node.get(key)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and 0 <= value < float("inf") and (value > 0 or key == "temperature")):
            raise DataError(f"{what}: {key} {value!r} must be a number above 0 (temperature: or 0)")
    if leaf:
        name = node["manifest"]
        if not isinstance(name, str) or not name.endswith(SUFFIXES):
            raise DataError(f"{what}: manifest {name!r} does not end in {' or '.join(SUFFIXES)}")
        found.append(Source(path.parent / name, above))
        return
    children = node.get("sources")
    if not isinstance(children, list) or not children:
        raise DataError(f"{what}: sources {children!r} is not a list of corpora")
    temperature = node.get("temperature")
    for i, child in enumerate(children):
        weight = child.get("weight") if isinstance(child, Mapping) else None
        here = (i, 1.0 if temperature is None else float(temperature), None if weight is None else float(weight))
        _walk(child, path, f"{where}sources[{i}]", (*above, here), found)


def shares(sources: list[Source], cuts: list[int]) -> list[float]:
    """Probability that the next cut is from each source; on every level p_i = w_i^T / sum of w_j^T.

    A weight that is not given is the number of cuts, for a group that of its sources together.
    """
    out = [0.0] * len(sources)
    _share(list(range(len(sources))), 0, 1.0, sources, cuts, out)
    return out


def _share(members: list[int], depth: int, mass: float, sources: list[Source], cuts: list[int], out: list[float]):
    groups: dict[int, list[int]] = {}
    for i in members:
        groups.setdefault(sources[i].shares[depth][0], []).append(i)
    powers = {}
    for key, inside in groups.items():
        _, temperature, weight = sources[inside[0]].shares[depth]
        powers[key] = (sum(cuts[i] for i in inside) if weight is None else weight) ** temperature
    for key, inside in groups.items():
        part = mass * powers[key] / sum(powers.values())
        if len(sources[inside[0]].shares) == depth + 1:
            out[inside[0]] = part
        else:
            _share(inside, depth + 1, part, sources, cuts, out)
