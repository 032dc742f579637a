"""Every fault of a manifest, with its line number: one bad item never hides the next."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lhotse.cut import Cut
from tqdm import tqdm

from speech.data.manifests import load_audio, parse_cut, read_lines
from speech.errors import DataError, SpeechError
from speech.text.tokenizer import Tokenizer


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


def _text_faults(cut: Cut, tokenizer: Tokenizer | None) -> Iterator[str]:
    if not cut.supervisions:
        yield "no supervision"
        return
    text = (cut.supervisions[0].text or "").strip()
    if not text:
        yield "empty text"
    elif tokenizer is not None:
        try:
            tokenizer.encode(text)
        except SpeechError as error:
            yield str(error)


def _cut_faults(cut: Cut, tokenizer: Tokenizer | None, low: float, high: float) -> Iterator[str]:
    if not low <= cut.duration <= high:
        yield f"{cut.duration:.2f} s long, outside min_seconds {low:g} ... max_seconds {high:g}"
    yield from _text_faults(cut, tokenizer)
    try:
        load_audio(cut, cut.sampling_rate)
    except SpeechError as error:
        yield str(error)


def validate(
    path: str | Path, tokenizer: Tokenizer | None = None, min_seconds: float = 0.1, max_seconds: float = 60.0
) -> Report:
    """Read every item and its audio; a bar on stderr when that is a terminal."""
    report, first = Report(), {}
    for line, text in tqdm(read_lines(path), unit="cut", disable=not sys.stderr.isatty()):
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
        report.faults += [Fault(line, cut.id, what) for what in _cut_faults(cut, tokenizer, min_seconds, max_seconds)]
    return report
