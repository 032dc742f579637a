"""What the prepare scripts share: their arguments, where corpora lie, which utterances are kept, what was written."""

import argparse
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lhotse import CutSet
from lhotse.cut import Cut
from lhotse.utils import fastcopy

from speech.data.manifests import save_manifest
from speech.errors import DataError, SpeechError
from speech.text.normalize import normalize


class Report:
    """Cuts and their hours: what was written, by manifest, and what was dropped, by split and reason."""

    def __init__(self) -> None:
        self.written: dict[str, list[float]] = {}
        self.dropped: dict[str, list[float]] = defaultdict(list)

    def drop(self, split: str, reason: str, cut: Cut) -> None:
        self.dropped[f"dropped {split}: {reason}"].append(cut.duration)

    def __str__(self) -> str:
        lines = [f"{'manifest':<36} {'cuts':>8} {'hours':>9}"]
        for name, seconds in {**self.written, **self.dropped}.items():
            lines.append(f"{name:<36} {len(seconds):>8} {sum(seconds) / 3600:>9.3f}")
        return "\n".join(lines)


def make_parser(
    description: str | None,
    corpus: str,
    sample: str = "",
    required: bool = False,
    seconds: tuple[float, float] | None = None,
) -> argparse.ArgumentParser:
    """--corpus, `corpus` tells what it is, --out, and with `seconds` the length limits, by default these.

    The default of --corpus is the folder `sample` below SPEECH_CORPORA, None if it is not there.
    """
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    told = f"{corpus}; default $SPEECH_CORPORA/{sample}" if sample else corpus
    parser.add_argument("--corpus", type=Path, required=required, default=shared_corpus(sample), help=told)
    parser.add_argument("--out", type=Path, required=True, help="folder for what is made")
    if seconds:
        parser.add_argument("--min-seconds", type=float, default=seconds[0], help="shorter ones leave train and dev")
        parser.add_argument("--max-seconds", type=float, default=seconds[1], help="longer ones leave train and dev")
    return parser


def shared_corpus(name: str) -> Path | None:
    root = os.environ.get("SPEECH_CORPORA")
    return Path(root) / name if root and name and (Path(root) / name).is_dir() else None


def cuts_of_part(part: Mapping[str, Any], language: str) -> CutSet:
    """Lhotse's `recordings` and `supervisions`, one of a recording -> one cut for each, with its id, sorted by id."""
    cuts = []
    for cut in list(CutSet.from_manifests(recordings=part["recordings"], supervisions=part["supervisions"])):
        (said,) = cut.supervisions
        cuts.append(cut.with_id(said.id).map_supervisions(lambda s: fastcopy(s, language=language)))
    return CutSet.from_cuts(sorted(cuts, key=lambda cut: cut.id))


def make_folder(out: Path) -> None:
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
    kept: dict[str, list[Cut]] = {split: [] for split in splits}
    for split, cuts in splits.items():
        least, most = (min_seconds, max_seconds) if split in ("train", "dev") else (0.0, float("inf"))
        for cut in list(cuts):
            cut = cut.map_supervisions(lambda s: s.transform_text(lambda text: normalize(text, rule)))
            if not cut.supervisions[0].text:
                report.drop(split, "empty text", cut)
            elif cut.duration < least:
                report.drop(split, f"shorter than {least:g} s", cut)
            elif cut.duration > most:
                report.drop(split, f"longer than {most:g} s", cut)
            else:
                kept[split].append(cut)
        if not kept[split]:
            raise DataError(f"{split}: nothing is left of {len(cuts)} cuts; see --min-seconds, --max-seconds, text")
    for split, cuts in kept.items():
        write(cuts, out, split, report)
    return report


def write(cuts: Iterable[Cut], out: Path, name: str, report: Report) -> None:
    """Saves `<out>/<name>.jsonl.gz` and counts it in the report."""
    make_folder(out)
    cuts = list(cuts)
    save_manifest(cuts, out / f"{name}.jsonl.gz")
    report.written[name] = [cut.duration for cut in cuts]
