"""What the prepare scripts share: where corpora lie, which utterances are kept, what was written."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lhotse import CutSet
from lhotse.cut import Cut
from lhotse.utils import fastcopy

from speech.data.manifests import save_manifest
from speech.errors import DataError, SpeechError
from speech.text.normalize import normalize


@dataclass(frozen=True)
class Total:
    """Number of cuts and their length."""

    count: int = 0
    hours: float = 0.0

    def plus(self, cut: Cut) -> "Total":
        return Total(self.count + 1, self.hours + cut.duration / 3600)


@dataclass
class Report:
    """What was written, by manifest, and what was dropped, by split and reason."""

    written: dict[str, Total] = field(default_factory=dict)
    dropped: dict[tuple[str, str], Total] = field(default_factory=lambda: defaultdict(Total))

    def __str__(self) -> str:
        lines = [f"{'manifest':<36} {'cuts':>8} {'hours':>9}"]
        lines += [f"{name:<36} {total.count:>8} {total.hours:>9.3f}" for name, total in self.written.items()]
        for (split, reason), total in self.dropped.items():
            lines.append(f"{f'dropped {split}: {reason}':<36} {total.count:>8} {total.hours:>9.3f}")
        return "\n".join(lines)


def shared_corpus(name: str) -> Path | None:
    """The folder `name` below SPEECH_CORPORA; None if the variable is unset or has no such folder."""
    root = os.environ.get("SPEECH_CORPORA")
    return Path(root) / name if root and (Path(root) / name).is_dir() else None


def cuts_of_part(part: Mapping[str, Any], language: str) -> CutSet:
    """Lhotse's `recordings` and `supervisions`, one of a recording -> one cut for each, with its id, sorted by id."""
    cuts = []
    for cut in list(CutSet.from_manifests(recordings=part["recordings"], supervisions=part["supervisions"])):
        (said,) = cut.supervisions
        cuts.append(cut.with_id(said.id).map_supervisions(lambda s: fastcopy(s, language=language)))
    return CutSet.from_cuts(sorted(cuts, key=lambda cut: cut.id))


def make_folder(out: Path) -> None:
    """Makes the folder for manifests; SpeechError where that is impossible."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpeechError(f"{out}: cannot be made ({error.strerror}); give another folder as --out") from None


def prepare(splits: Mapping[str, CutSet], out: Path, rule: str, min_seconds: float, max_seconds: float) -> Report:
    """Normalises texts by `rule`, filters, and writes `<out>/<split>.jsonl.gz`.

    Length limits hold for train and dev. Other splits are test sets and keep every length, as a score over a filtered
    one compares with nothing; a text that normalises to nothing is dropped everywhere, since it cannot be scored.
    """
    if not 0 <= min_seconds < max_seconds:
        raise SpeechError(f"min_seconds {min_seconds} must be at least 0 and below max_seconds {max_seconds}")
    report = Report()
    kept_by_split: dict[str, list[Cut]] = {}
    for split, cuts in splits.items():
        limits = (min_seconds, max_seconds) if split in ("train", "dev") else (0.0, float("inf"))
        kept = kept_by_split[split] = []
        for cut in list(cuts):
            cut = cut.map_supervisions(lambda s: s.transform_text(lambda text: normalize(text, rule)))
            if reason := _fault(cut, *limits):
                report.dropped[split, reason] = report.dropped[split, reason].plus(cut)
            else:
                kept.append(cut)
        if not kept:
            raise DataError(f"{split}: nothing is left of {len(cuts)} cuts; see --min-seconds, --max-seconds, text")
    make_folder(out)
    for split, kept in kept_by_split.items():
        write(kept, out, split, report)
    return report


def write(cuts: Iterable[Cut], out: Path, name: str, report: Report) -> None:
    """Saves `<out>/<name>.jsonl.gz` in the existing folder `out` and counts it in the report."""
    cuts = list(cuts)
    save_manifest(CutSet.from_cuts(cuts), out / f"{name}.jsonl.gz")
    total = Total()
    for cut in cuts:
        total = total.plus(cut)
    report.written[name] = total


def _fault(cut: Cut, min_seconds: float, max_seconds: float) -> str | None:
    if not cut.supervisions[0].text:
        return "empty text"
    if cut.duration < min_seconds:
        return f"shorter than {min_seconds:g} s"
    if cut.duration > max_seconds:
        return f"longer than {max_seconds:g} s"
    return None
