"""A long recording in pieces that a recogniser takes at once: cut in pauses, with an overlap where there is none."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from speech.audio.vad import FRAME_SECONDS, Detector

SPEECH, QUIET = 0.5, 0.35  # probabilities: speech begins at the first, a pause below the second
PAD_SECONDS = 0.2  # sound kept around speech
LONG_PAUSE_SECONDS = 1.5  # always parts pieces
MIN_PAUSE_SECONDS = 0.1
MIN_SPEECH_SECONDS = 0.1  # less is a click
OVERLAP_SECONDS = 1.0  # of both pieces past a cut inside speech, an eighth of the piece at most


@dataclass(frozen=True)
class Piece:
    start: float
    """seconds from the beginning of the recording to its first sample"""
    waveform: np.ndarray  # [samples]
    first: float = 0.0
    last: float = float("inf")
    """seconds of the recording: what is said between the two is this piece's, the rest is another's overlap"""


def _frames(seconds: float) -> int:
    return max(1, round(seconds / FRAME_SECONDS))


def _runs(flags: np.ndarray) -> np.ndarray:  # [n] bool -> [runs, 2] half-open ranges that are true
    edges = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
    return np.flatnonzero(edges).reshape(-1, 2)


class Cutter:
    """Blocks of samples in, pieces of at most `max_seconds` out; memory holds little more than one piece."""

    def __init__(self, detector: Detector, sample_rate: int, max_seconds: float):
        self.detector, self.rate = detector, sample_rate
        self.overlap = min(_frames(OVERLAP_SECONDS), int(max_seconds / FRAME_SECONDS) // 8)
        self.longest = max(1, int(max_seconds / FRAME_SECONDS))
        self.samples, self.probs = np.zeros(0, np.float32), np.zeros(0, np.float32)
        self.at = 0  # frames of the recording before the buffer
        self.low = 0  # frames of the buffer that belong to the piece before: its part of an overlap
        self.inside = False  # the last cut was inside speech

    def push(self, block: np.ndarray, last: bool = False) -> Iterator[Piece]:
        self.samples = np.concatenate([self.samples, block])
        self.probs = np.concatenate([self.probs, self.detector.push(block, last)])
        while (found := self._next(last)) is not None:
            if found:
                yield found

    def _sample(self, frame: int) -> int:
        """Place in the buffer of a frame of it."""
        return round((self.at + frame) * FRAME_SECONDS * self.rate) - round(self.at * FRAME_SECONDS * self.rate)

    def _drop(self, frames: int, low: int = 0, inside: bool = False) -> None:
        """Forget the first frames of the buffer."""
        self.samples, self.probs = self.samples[self._sample(frames) :], self.probs[frames:]
        self.at, self.low, self.inside = self.at + frames, low, inside

    def _piece(self, begin: int, end: int, first: int, last: int) -> Piece | Literal[False]:
        """False where there is hardly any speech, unless the piece before counts on this one for its last word."""
        if not self.inside and (self.probs[begin:end] >= SPEECH).sum() < _frames(MIN_SPEECH_SECONDS):
            return False
        start, stop = self._sample(begin), self._sample(end) if end < len(self.probs) else len(self.samples)
        seconds = [(self.at + frame) * FRAME_SECONDS for frame in (begin, max(begin, first), last)]
        return Piece(seconds[0], self.samples[start:stop], seconds[1], seconds[2])

    def _next(self, final: bool) -> Piece | Literal[False] | None:
        """The next piece of the buffer, False for one that is left out, None where more must be known first."""
        probs, pad, count = self.probs, _frames(PAD_SECONDS), len(self.probs)
        speech = np.flatnonzero(probs >= SPEECH)
        if self.inside:
            begin = spoken = 0
        elif len(speech):
            begin, spoken = max(0, int(speech[0]) - pad), int(speech[0])
        else:
            self._drop(count if final else max(0, count - pad))
            return None
        limit = begin + self.longest
        pauses = _runs(probs[: min(count, limit)] < QUIET)
        pauses = np.maximum(pauses[pauses[:, 1] > max(spoken, self.low)], self.low)
        lengths = pauses[:, 1] - pauses[:, 0]
        long = pauses[lengths >= _frames(LONG_PAUSE_SECONDS)]
        if len(long):
            return self._cut(begin, min(int(long[0, 0]) + pad, limit), int(long[0, 0]) + pad)
        if count <= limit:
            if final and not count:
                return None
            return self._cut(begin, count, count) if final else None
        late = (pauses[:, 0] >= begin + self.longest // 2) & (lengths >= _frames(MIN_PAUSE_SECONDS))
        if late.any():
            a, b = pauses[late][lengths[late].argmax()]
            middle = (int(a) + int(b)) // 2
            return self._cut(begin, min(int(a) + pad, middle), middle)
        smooth = np.convolve(probs[:limit], np.ones(5) / 5, "same")
        low, high = begin + self.longest * 2 // 3, max(begin + 1, limit - self.overlap)
        cut = high - 1 - int(smooth[min(low, high - 1) : high][::-1].argmin())  # the last of equals
        piece = self._piece(begin, min(cut + self.overlap, limit), self.low, cut)
        keep = max(begin, cut - self.overlap) + (1 if cut - self.overlap <= begin else 0)
        self._drop(keep, low=cut - keep, inside=True)
        return piece

    def _cut(self, begin: int, end: int, after: int) -> Piece | Literal[False]:
        """A piece that ends in a pause; the next one begins at `after` or later."""
        piece = self._piece(begin, end, self.low, after)
        self._drop(after)
        return piece
