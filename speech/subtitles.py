"""Text formats of a transcript: txt, vtt, srt, tsv."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speech.transcript import Segment


def _milliseconds(segments: "Sequence[Segment]") -> list[tuple[int, int, str]]:
    """Rounded once, then clamped: no overlap, at least 1 ms long. Each text is one line; segments without text go."""
    out, last = [], 0
    for segment in segments:
        if not segment.text.strip():
            continue
        start = max(round(segment.start * 1000), last)
        last = max(round(segment.end * 1000), start + 1)
        out.append((start, last, " ".join(segment.text.split())))
    return out


def _clock(ms: int, mark: str) -> str:
    return f"{ms // 3600000:02d}:{ms // 60000 % 60:02d}:{ms // 1000 % 60:02d}{mark}{ms % 1000:03d}"


def to_txt(segments: "Sequence[Segment]") -> str:
    return "".join(f"{text}\n" for _, _, text in _milliseconds(segments))


def to_srt(segments: "Sequence[Segment]") -> str:
    parts = [
        f"{i}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{re.sub('-+->', '->', text)}\n"
        for i, (start, end, text) in enumerate(_milliseconds(segments), 1)
    ]
    return "\n".join(parts)


def to_vtt(segments: "Sequence[Segment]") -> str:
    parts = ["WEBVTT\n"]
    for start, end, text in _milliseconds(segments):
        safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        parts.append(f"{_clock(start, '.')} --> {_clock(end, '.')}\n{safe}\n")
    return "\n".join(parts)


def to_tsv(segments: "Sequence[Segment]") -> str:
    lines = [f"{start}\t{end}\t{text}\n" for start, end, text in _milliseconds(segments)]
    return "start\tend\ttext\n" + "".join(lines)
