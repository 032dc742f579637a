"""Text formats of a transcript: txt, vtt, srt, tsv."""

import re
from collections.abc import Sequence
from typing import NamedTuple


class Cue(NamedTuple):
    start: float  # seconds
    end: float
    text: str


def _milliseconds(cues: Sequence[Cue]) -> list[tuple[int, int, str]]:
    """Rounded once, then clamped: no overlap, at least 1 ms long. Each text is one line; cues without text go."""
    out, last = [], 0
    for cue in cues:
        if not cue.text.strip():
            continue
        start = max(round(cue.start * 1000), last)
        last = max(round(cue.end * 1000), start + 1)
        out.append((start, last, " ".join(cue.text.split())))
    return out


def _clock(ms: int, mark: str) -> str:
    return f"{ms // 3600000:02d}:{ms // 60000 % 60:02d}:{ms // 1000 % 60:02d}{mark}{ms % 1000:03d}"


def to_txt(cues: Sequence[Cue]) -> str:
    return "".join(f"{text}\n" for _, _, text in _milliseconds(cues))


def to_srt(cues: Sequence[Cue]) -> str:
    parts = [
        f"{i}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{re.sub('-+->', '->', text)}\n"
        for i, (start, end, text) in enumerate(_milliseconds(cues), 1)
    ]
    return "\n".join(parts)


def to_vtt(cues: Sequence[Cue]) -> str:
    parts = ["WEBVTT\n"]
    for start, end, text in _milliseconds(cues):
        safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        parts.append(f"{_clock(start, '.')} --> {_clock(end, '.')}\n{safe}\n")
    return "\n".join(parts)


def to_tsv(cues: Sequence[Cue]) -> str:
    lines = [f"{start}\t{end}\t{text}\n" for start, end, text in _milliseconds(cues)]
    return "start\tend\ttext\n" + "".join(lines)
