"""What `data.train` names: a manifest, a Shar folder, or a YAML list of both with weights and temperature."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from speech.data.config import SUFFIXES
from speech.errors import DataError, one_line

MIXTURE_KEYS, LEAFS = {"sources", "weight", "temperature"}, ("manifest", "shar")


@dataclass(frozen=True)
class Source:
    manifest: Path  # or the folder of a Shar
    shar: bool = False
    weight: float | None = None

    @property
    def sources(self) -> list["Source"]:
        return [self]

    def shares(self, cuts: Mapping[Path, int]) -> list[float]:
        return [1.0]


@dataclass(frozen=True)
class Mixture:
    members: list["Source | Mixture"]
    temperature: float = 1.0
    weight: float | None = None

    @property
    def sources(self) -> list[Source]:
        return [source for member in self.members for source in member.sources]

    def shares(self, cuts: Mapping[Path, int]) -> list[float]:
        """Probability that the next cut is from each source; on every level p_i = w_i^T / sum of w_j^T.

        A weight that is not given is the number of cuts, for a mixture that of its sources together.
        """
        sizes = [sum(cuts[source.manifest] for source in member.sources) for member in self.members]
        weights = [size if m.weight is None else m.weight for m, size in zip(self.members, sizes, strict=True)]
        powers = [weight**self.temperature for weight in weights]
        pairs = zip(self.members, powers, strict=True)
        return [power / sum(powers) * share for member, power in pairs for share in member.shares(cuts)]


def read_sources(path: str | Path) -> Source | Mixture:
    """Corpora of a .yaml, else the manifest or Shar folder itself. DataError names an unknown key or a wrong value.

    sources: [{manifest: a.jsonl, weight: 2}, {shar: folder}, {sources: [...], temperature: 0.5}], temperature: 1.
    Paths count from the file's folder; a weight is any number above 0, without one it is the number of cuts.
    """
    path = Path(path)
    if path.suffix not in (".yaml", ".yml"):
        return Source(path, path.is_dir())
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not YAML ({one_line(error)})") from None
    found = _node(tree, path, str(path))
    names = [source.manifest for source in found.sources]
    if twice := {str(name) for name in names if names.count(name) > 1}:
        raise DataError(f"{path}: {', '.join(sorted(twice))} stands there twice; give it a larger weight instead")
    return found


def _node(node: Any, path: Path, what: str) -> Source | Mixture:
    if not isinstance(node, Mapping):
        raise DataError(f"{what}: {node!r} is not a mapping with 'manifest', 'shar' or 'sources'")
    leaf = next((key for key in LEAFS if key in node), None)
    known = {leaf, "weight"} if leaf else MIXTURE_KEYS
    if unknown := [str(key) for key in node if key not in known]:
        raise DataError(f"{what}: unknown key {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    weight, temperature = node.get("weight"), node.get("temperature")
    for key, value in ("weight", weight), ("temperature", temperature):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and 0 <= value < float("inf") and (value > 0 or key == "temperature")):
            raise DataError(f"{what}: {key} {value!r} must be a number above 0 (temperature: or 0)")
    if leaf:
        name, shar = node[leaf], leaf == "shar"
        if not isinstance(name, str) or not (shar or name.endswith(SUFFIXES)):
            fault = "is not the name of a folder" if shar else f"does not end in {' or '.join(SUFFIXES)}"
            raise DataError(f"{what}: {leaf} {name!r} {fault}")
        return Source(path.parent / name, shar, weight)
    children = node.get("sources")
    if not isinstance(children, list) or not children:
        raise DataError(f"{what}: sources {children!r} is not a list of corpora")
    members = [_node(child, path, f"{what}, sources[{i}]") for i, child in enumerate(children)]
    return Mixture(members, 1.0 if temperature is None else temperature, weight)


def shar_files(folder: Path) -> list[tuple[Path, Path]]:
    """Lists of cuts and tars of audio of all shards, in order. DataError names a file that is missing."""
    cuts = {path.name[len("cuts.") : -len(".jsonl.gz")] for path in folder.glob("cuts.*.jsonl.gz")}
    tars = {path.name[len("recording.") : -len(".tar")] for path in folder.glob("recording.*.tar")}
    if not cuts:
        raise DataError(f"{folder}: not a Shar folder, there is no cuts.*.jsonl.gz in it")
    numbers = {int(name) for name in cuts | tars if name.isdecimal()}
    gap = next((n for n in range(min(numbers), max(numbers)) if n not in numbers), None) if numbers else None
    if gap is not None:
        raise DataError(f"{folder}: the shard {gap:06d} is missing between the others")
    files = [(folder / f"cuts.{name}.jsonl.gz", folder / f"recording.{name}.tar") for name in sorted(cuts | tars)]
    for path in (path for pair in files for path in pair):
        if not path.is_file():
            raise DataError(f"{path}: is missing or not a file, so the shard is not whole")
    return files


def fingerprint(path: str | Path) -> str:
    """sha256 of a file, or of a Shar folder's cuts and the sizes of its tars. DataError where it cannot be read."""
    path = Path(path)
    try:
        if path.is_dir():
            told = [(tar.name, tar.stat().st_size, cuts.name, fingerprint(cuts)) for cuts, tar in shar_files(path)]
            return hashlib.sha256(json.dumps(told).encode()).hexdigest()
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
