"""Words with their times: what a hypothesis becomes before it is cut into segments."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from speech.search.alignment import Span
from speech.search.timestamps import energy_db, widen

SENTENCE_ENDS = ".?!。？！…"
CLOSERS = "\"'”’)]»」』"
SEGMENT_PAUSE_SECONDS = 0.5
SAME_WORD_SECONDS = 0.5  # two pieces heard the same word if its times differ by less


class TimedWord(NamedTuple):
    text: str
    tokens: list[int]
    log_probs: list[float]
    start: float  # seconds
    end: float

    @property
    def middle(self) -> float:
        return (self.start + self.end) / 2


class Clock(NamedTuple):
    """How frames of the encoder lie in a waveform."""

    frame_seconds: float
    shift: float  # seconds of silence that were put before it
    waveform: np.ndarray  # [samples]
    sample_rate: int

    @property
    def seconds(self) -> float:
        return len(self.waveform) / self.sample_rate


def word_spans(groups: Sequence[Sequence[int]], spans: Sequence[Span] | None, clock: Clock) -> list[Span]:
    """Seconds of each word: a group of positions of tokens, whose spans are frames; equal shares where there are none.

    The edges lie in the pause, or in the quietest frame, between two words.
    """
    if spans is None:
        edges = np.linspace(0, clock.seconds, len(groups) + 1).tolist()
        return [Span(*pair) for pair in pairwise(edges)]

    def place(frame: float) -> float:
        return min(max(0.0, frame * clock.frame_seconds - clock.shift), clock.seconds)

    peaks = [Span(place(spans[g[0]].start), place(spans[g[-1]].end)) for g in groups]
    grown = widen(peaks, energy_db(clock.waveform, clock.sample_rate))
    return [Span(span.start, min(span.end, clock.seconds)) for span in grown]


def marked_words(tokens: Sequence[int], times: Mapping[int, float]) -> tuple[list[list[int]], list[Span]]:
    """Positions and seconds of the words between marks of time, as Canary writes them: mark, word, mark.

    A mark that is missing is the next one that there is; a time never goes back.
    """
    groups: list[list[int]] = []
    starts: list[float] = []
    ends: list[float] = []  # one fewer inside of a word
    now = 0.0
    for i, token in enumerate(tokens):
        inside = len(ends) < len(starts)
        if token in times:
            now = max(now, times[token])
            if inside:
                ends.append(now)
        elif inside:
            groups[-1].append(i)
        else:
            groups.append([i])
            starts.append(now)
    ends += [now] * (len(starts) - len(ends))
    return groups, [Span(a, b) for a, b in zip(starts, ends, strict=True)]


def split_segments(words: Sequence[TimedWord]) -> list[list[TimedWord]]:
    """Segments end at the end of a sentence and at a pause."""
    segments: list[list[TimedWord]] = []
    for word in words:
        before = segments[-1][-1] if segments else None
        ended = before is not None and before.text.rstrip(CLOSERS).endswith(tuple(SENTENCE_ENDS))
        if before is None or ended or word.start - before.end >= SEGMENT_PAUSE_SECONDS:
            segments.append([])
        segments[-1].append(word)
    return segments


def join_overlap(left: list[TimedWord], right: list[TimedWord], cut: float) -> tuple[list[TimedWord], list[TimedWord]]:
    """Each word of two pieces once, where both heard what lies around `cut`, seconds of the recording.

    They are joined at the word that both have at the same time, the one nearest to the cut; without one, by the time.
    """
    same = [
        (abs(a.middle - cut), i, j)
        for i, a in enumerate(left)
        for j, b in enumerate(right)
        if a.text.casefold() == b.text.casefold() and abs(a.middle - b.middle) < SAME_WORD_SECONDS
    ]
    if same:
        _, i, j = min(same)
        return left[: i + 1], right[j + 1 :]
    return [w for w in left if w.middle < cut], [w for w in right if w.middle >= cut]
