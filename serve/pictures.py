"""What a page shows of sound, as HTML that fits any width, light or dark. Every text is escaped."""

import base64
import io
from collections.abc import Sequence
from html import escape
from itertools import pairwise

import numpy as np

from speech.audio.decode import Limits, Source
from speech.audio.source import open_blocks
from speech.talker import Spoken
from speech.text.phonemes import BLANK
from speech.transcript import Segment, Transcript, Word

BARS = 600
PEAK_RATE = 4000  # Hz
SURE, UNSURE = 0.9, 0.6  # probabilities of a word
CSS = """
.plain { overflow-x: auto; font-size: 0.95rem; line-height: 1.5; color: var(--body-text-color) }
.plain p { margin: 0.5rem 0 }
.soft { color: var(--body-text-color-subdued); font-size: 0.82rem; font-variant-numeric: tabular-nums }
.timeline { position: relative; margin: 0.25rem 0 0.75rem }
.timeline svg { display: block; width: 100%; height: 4.5rem }
.timeline i { position: absolute; top: 0; height: 4.5rem; border-left: 1px solid var(--color-accent);
  background: color-mix(in srgb, var(--color-accent) 14%, transparent) }
.ends { display: flex; justify-content: space-between }
.segment { display: grid; grid-template-columns: auto 1fr; gap: 0.5rem; padding: 0.35rem 0;
  border-top: 1px solid var(--border-color-primary) }
.word { display: inline-block; margin: 0 0.45rem 0.3rem 0; text-align: center; border-bottom: 3px solid #2f9e62 }
.word.unsure { border-color: #d9930d } .word.doubtful { border-color: #d64545 }
.word small { display: block; line-height: 1.1 }
.key span { display: inline-block; margin-right: 1rem; border-bottom: 3px solid #2f9e62 }
.key .unsure { border-color: #d9930d } .key .doubtful { border-color: #d64545 }
.mel { position: relative; margin-bottom: 1rem }
.mel img { display: block; width: 100%; height: 9rem; image-rendering: pixelated; border-radius: 4px 4px 0 0 }
.mel b { position: absolute; top: 9rem; height: 1.5rem; font-weight: normal; text-align: center; overflow: hidden;
  border-left: 1px solid var(--border-color-primary); font-size: 0.85rem }
.mel .row { height: 1.6rem }
"""


def clock(seconds: float) -> str:
    """`1:02:03.4`, hours where there are any."""
    tenths = round(seconds * 10)
    hours, minutes, rest = tenths // 36000, tenths // 600 % 60, tenths % 600 / 10
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def transcript_picture(found: Transcript, source: Source) -> str:
    """Waveform with the segments, then each of them with its words, their times and how sure they are."""
    if not found.segments:
        return '<div class="plain"><p>No speech was found.</p></div>'
    marks = "".join(
        f'<i style="left:{100 * s.start / found.duration:.3f}%;width:{100 * (s.end - s.start) / found.duration:.3f}%"'
        f' title="{escape(s.text)}"></i>'
        for s in found.segments
    )
    key = "".join(
        f'<span class="{kind}">{label}</span>'
        for kind, label in (("", "sure"), ("unsure", f"below {SURE:.0%}"), ("doubtful", f"below {UNSURE:.0%}"))
    )
    return (
        f'<div class="plain"><div class="timeline">{_waveform(source)}{marks}'
        f'<div class="soft ends"><span>0:00.0</span><span>{clock(found.duration)}</span></div></div>'
        f'<div class="soft key">{key}mean probability {found.confidence:.0%}</div>'
        f"{''.join(map(_segment, found.segments))}</div>"
    )


def _segment(segment: Segment) -> str:
    doubts = f'<div class="soft">doubtful: {escape(", ".join(segment.doubts))}</div>' if segment.doubts else ""
    words = "".join(map(_word, segment.words))
    return f'<div class="segment"><span class="soft">{clock(segment.start)}</span><div>{words}{doubts}</div></div>'


def _word(word: Word) -> str:
    kind = "" if word.probability >= SURE else " unsure" if word.probability >= UNSURE else " doubtful"
    told = f"{word.start:.2f} - {word.end:.2f} s, probability {word.probability:.0%}"
    text = f'{escape(word.word)}<small class="soft">{word.start:.2f}</small>'
    return f'<span class="word{kind}" title="{told}">{text}</span>'


def _waveform(source: Source) -> str:
    """However long the recording, memory holds a block of it and a peak for each 10 ms."""
    hop, rest, peaks = PEAK_RATE // 100, np.zeros(0, np.float32), []
    for block in open_blocks(source, None, PEAK_RATE, Limits(max_seconds=np.inf)):
        rest = np.concatenate([rest, block])
        whole = len(rest) // hop * hop
        peaks.append(np.abs(rest[:whole]).reshape(-1, hop).max(1, initial=0))
        rest = rest[whole:]
    heights = np.array([part.max() for part in np.array_split(np.concatenate(peaks), BARS) if len(part)] or [0.0])
    heights = 48 * heights / max(heights.max(), 1e-3) + 0.5
    sides = [f"{x} {50 + sign * h:.1f}" for sign in (-1, 1) for x, h in list(enumerate(heights))[::-sign]]
    return (
        f'<svg viewBox="0 0 {len(heights)} 100" preserveAspectRatio="none" role="img" aria-label="waveform">'
        f'<path d="M{"L".join(sides)}Z" fill="var(--color-accent)"/></svg>'
    )


def speech_picture(said: Sequence[Spoken]) -> str:
    """The mel of each sentence, under it its phonemes as long as they last, where the voice tells that."""
    return f'<div class="plain">{"".join(map(_mel, said))}</div>'


def _mel(said: Spoken) -> str:
    from matplotlib.image import imsave

    imsave(png := io.BytesIO(), said.mel.T, origin="lower", cmap="magma", vmin=-9.0, vmax=1.5, format="png")
    image = f'<img alt="mel spectrogram" src="data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}">'
    row = ""
    if said.frames is not None:
        edges = 100 * np.cumsum([0, *said.frames]) / max(1, sum(said.frames))
        names = ["", *("" if token == BLANK else token for token in said.phonemes), ""]
        row = "".join(
            f'<b style="left:{left:.3f}%;width:{right - left:.3f}%" title="{name or "pause"}">{name}</b>'
            for name, (left, right) in zip(map(escape, names), pairwise(edges), strict=True)
        )
    width = max(0.9 * len(said.phonemes), 0.02 * len(said.mel))  # rem: narrower is not readable
    return f'<div class="mel" style="min-width:{width:.0f}rem">{image}{row}<div class="row"></div></div>'
