"""Every fault of a manifest, with its line number: one bad item never hides the next."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from lhotse.cut import Cut
from tqdm import tqdm

from speech.audio.decode import AudioInfo, Source, probe
from speech.data.manifests import MAX_MISSING_SECONDS, load_audio, parse_cut, read_bytes, read_lines, recordings
from speech.errors import DataError, SpeechError
from speech.text.base import BaseTokenizer

Measure = Callable[[Source], AudioInfo]


@dataclass(frozen=True)
class Fault:
    line: int
    cut_id: str
    what: str


@dataclass
class Report:
    cuts: int = 0
    hours: float = 0.0
    faults: list[Fault] = field(default_factory=list)


def _cut_faults(cut: Cut, tokenizer: BaseTokenizer | None, low: float, high: float, measure: Measure) -> Iterator[str]:
    if not low <= cut.duration <= high:
        yield f"{cut.duration:.2f} s long, outside min_seconds {low:g} ... max_seconds {high:g}"
    said = cut.supervisions[0] if cut.supervisions else None
    text = (said.text or "").strip() if said else ""
    if said is None:
        yield "no supervision"
    elif not text:
        yield "empty text"
    elif tokenizer is not None:
        try:
            ids = tokenizer.encode(text, said.language if said.language in tokenizer.languages else None)
            if tokenizer.unk_id in ids:
                yield f"{ids.count(tokenizer.unk_id)} parts of the text are outside the vocabulary"
        except SpeechError as error:
            yield str(error)
    try:
        load_audio(cut, cut.sampling_rate)
        yield from _recording_faults(cut, measure)
    except SpeechError as error:
        yield str(error)


def _recording_faults(cut: Cut, measure: Measure) -> Iterator[str]:
    """What the audio of a cut is, against what the manifest says of it."""
    for recording in recordings(cut):
        info = measure(recording.sources[0].source)
        seconds = info.num_samples / info.sample_rate
        if info.sample_rate != recording.sampling_rate:
            yield f"{recording.id}: {info.sample_rate} Hz where the manifest says {recording.sampling_rate} Hz"
        elif abs(seconds - recording.duration) > MAX_MISSING_SECONDS:
            yield f"{recording.id}: {seconds:.3f} s long where the manifest says {recording.duration:.3f} s"


def validate(
    path: str | Path, tokenizer: BaseTokenizer | None = None, min_seconds: float = 0.1, max_seconds: float = 60.0
) -> Report:
    """Read every item and its audio; a bar on stderr when that is a terminal."""
    report, first = Report(), {}
    measure = cache(probe)  # a recording stands in many mixed cuts
    for line, text in tqdm(read_lines(read_bytes(path)), unit="cut", disable=not sys.stderr.isatty()):
        try:
            cut = parse_cut(text, Path(path).parent)
        except DataError as error:
            report.faults.append(Fault(line, "", str(error)))
            continue
        report.cuts += 1
        report.hours += cut.duration / 3600
        if cut.id in first:
            report.faults.append(Fault(line, cut.id, f"the id stands on line {first[cut.id]} too"))
            continue
        first[cut.id] = line
        report.faults += [
            Fault(line, cut.id, what) for what in _cut_faults(cut, tokenizer, min_seconds, max_seconds, measure)
        ]
    return report
