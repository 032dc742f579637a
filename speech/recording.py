"""A recording on its way from pieces to a transcript."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, takewhile
from typing import NamedTuple

import numpy as np

from speech.audio.pieces import Piece
from speech.errors import AudioError
from speech.search.guards import Verdict
from speech.search.timed_words import TimedWord, join_overlap, split_segments
from speech.text.base import BaseTokenizer
from speech.transcript import Segment, Transcript, Word, compression_ratio


class Heard(NamedTuple):
    """A piece as it was recognised, times in seconds of the recording."""

    words: list[TimedWord]
    end_log_prob: list[float]  # of eos; none where the text was cut off
    verdict: Verdict = Verdict([])


@dataclass
class Recording:
    index: int
    pieces: list[Piece] = field(default_factory=list)
    heard: dict[int, Heard] = field(default_factory=dict)
    samples: int = 0
    read: bool = False
    error: AudioError | None = None

    @property
    def finished(self) -> bool:
        return self.error is not None or (self.read and len(self.heard) == len(self.pieces))

    def keep(self, number: int, heard: Heard) -> None:
        """What was heard in a piece, whose sound is then no longer needed."""
        self.heard[number] = heard
        self.pieces[number] = replace(self.pieces[number], waveform=np.zeros(0, np.float32))

    def words(self) -> list[list[TimedWord]]:
        """Of each piece before the first that is not heard yet, each word once."""
        words = [self.heard[i].words for i in takewhile(self.heard.__contains__, range(len(self.pieces)))]
        for i, piece in enumerate(self.pieces[: len(words)]):
            if i and piece.first > piece.start:  # it begins before the cut: both heard what lies there
                words[i - 1], words[i] = join_overlap(words[i - 1], words[i], piece.first)
        return words

    def settled(self, tokenizer: BaseTokenizer) -> str:
        """The text so far that no later piece changes: without the last one's, which may overlap with the next."""
        tokens = [token for words in self.words()[:-1] for word in words for token in word.tokens]
        return tokenizer.decode(tokens).strip().rstrip("\ufffd")  # half a character

    def transcript(self, tokenizer: BaseTokenizer, language: str, sample_rate: int, list_words: bool) -> Transcript:
        segments: list[Segment] = []
        for i, words in enumerate(self.words()):
            parts = split_segments(words)
            for part in parts:
                heard = self.heard[i] if part is parts[-1] else self.heard[i]._replace(end_log_prob=[])
                seek = round(100 * self.pieces[i].start)
                segments.append(_segment(len(segments), part, heard, seek, tokenizer, list_words))
        text = tokenizer.decode(chain.from_iterable(s.tokens for s in segments)).strip()
        return Transcript(text, segments, language, self.samples / sample_rate)


def _segment(
    number: int, words: Sequence[TimedWord], heard: Heard, seek: int, tokenizer: BaseTokenizer, list_words: bool
) -> Segment:
    tokens = list(chain.from_iterable(word.tokens for word in words))
    log_probs = list(chain.from_iterable(word.log_probs for word in words))
    text = tokenizer.decode(tokens).strip()
    scored = log_probs + heard.end_log_prob
    return Segment(
        id=number,
        start=round(words[0].start, 3),
        end=round(words[-1].end, 3),
        text=text,
        tokens=tokens,
        avg_logprob=sum(scored) / len(scored),
        compression_ratio=compression_ratio(text),
        seek=seek,
        no_speech_prob=round(heard.verdict.no_speech_prob, 4),
        token_logprobs=log_probs,
        doubts=heard.verdict.reasons,
        words=[_word(word) for word in words] if list_words else [],
    )


def _word(word: TimedWord) -> Word:
    probability = math.exp(sum(word.log_probs) / len(word.log_probs))
    return Word(word.text, round(word.start, 3), round(word.end, 3), round(probability, 4))
