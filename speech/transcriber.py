"""Recordings of any length to transcripts, whatever runs the model: numpy only."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Protocol

import numpy as np

from speech.allocator import return_large_blocks
from speech.audio.decode import Limits, Source
from speech.audio.pieces import Cutter, Piece
from speech.audio.source import name_of, open_blocks
from speech.audio.vad import Detectors
from speech.decoding import Decoding, make_decoding
from speech.errors import AudioError, SpeechError
from speech.generation import GenerationConfig
from speech.recording import Heard, Recording
from speech.request import Request
from speech.search.alignment import Span, attention_align, ctc_align
from speech.search.beam import Hypothesis, Scorer, Scores, beam_search
from speech.search.ctc_prefix import CtcPrefix, ctc_greedy
from speech.search.guards import Verdict, ctc_agreement, no_speech_prob
from speech.search.rules import max_repeats, suppress
from speech.search.speculative import Speculative, Verifier
from speech.search.timed_words import Clock, TimedWord, marked_words, word_spans
from speech.text.base import BaseTokenizer
from speech.text.words import group_words
from speech.transcript import Transcript, compression_ratio

Audio = Source | np.ndarray
LONGEST_LOOP = 16  # tokens of a block that is watched for repeats
MAX_SECONDS = 24 * 3600.0  # of a recording
WINDOW = 4  # batches of pieces that are sorted by length together


class FirstStep(Protocol):
    """A step of the search that also takes the prompts."""

    def first(self, prompts: np.ndarray) -> tuple[Scores, Any]: ...
    def __call__(self, tokens: np.ndarray, parents: np.ndarray, state: Any) -> tuple[Scores, Any]: ...


class Transcriber(ABC):
    """A batch gives what its recordings give alone. Subclasses run the model."""

    sample_rate: int
    frame_seconds: float
    """of a frame of the encoder"""
    max_tokens: int
    """of the decoder, prompt included"""
    has_ctc: bool
    has_aligner = False
    speculative = False
    """the CTC head's text is a draft for searches of one hypothesis over one piece; the steps must `verify`"""

    def __init__(self, tokenizer: BaseTokenizer, generation: GenerationConfig):
        self.tokenizer, self.generation = tokenizer, generation
        self.detectors: Detectors | None = None

    @abstractmethod
    def encode(self, waveforms: Sequence[np.ndarray]) -> Any:
        """[samples] arrays in [-1, 1] -> a batch for the methods below."""

    @abstractmethod
    def feature_frames(self, samples: int) -> int:
        """Frames of the front end, before the encoder."""

    @abstractmethod
    def step(self, encoded: Any, with_attention: bool = False) -> FirstStep: ...

    @abstractmethod
    def ctc_log_probs(self, encoded: Any, row: int) -> np.ndarray:
        """[T, V] over the frames of a row."""

    @abstractmethod
    def cross_attention(self, encoded: Any, row: int, prompt: Sequence[int], tokens: Sequence[int]) -> np.ndarray:
        """[heads, U, T] weights by which each of U tokens was written."""

    def aligner_spans(self, waveform: np.ndarray, words: Sequence[str]) -> tuple[list[Span] | None, float]:
        """Frames of each word by the CTC model beside this one, and the seconds of a frame; only where has_aligner."""
        raise NotImplementedError

    def padded(self, waveform: np.ndarray) -> np.ndarray:
        return np.pad(waveform, self._padding(len(waveform)))

    def _padding(self, samples: int) -> tuple[int, int]:
        """Samples of silence before and after a recording."""
        pad = round(self.generation.pad_seconds * self.sample_rate)
        short = max(0, round(self.generation.min_seconds * self.sample_rate) - samples - 2 * pad)
        return pad + (short + 1) // 2, pad + short // 2

    def transcribe(
        self,
        source: Audio | Sequence[Audio],
        *,
        sampling_rate: int | None = None,
        batch_size: int = 16,
        **request: Any,
    ) -> Transcript | list[Transcript]:
        """A path, bytes, file or [samples] array with `sampling_rate` -> Transcript; a list of them -> a list.

        The other arguments are those of `Request`. AudioError for the first recording that cannot be read.
        """
        sources = source if isinstance(source, (list, tuple)) else [source]
        found: list[Transcript | None] = [None] * len(sources)
        for index, result in self.transcribe_each(sources, Request(**request), batch_size, sampling_rate):  # type: ignore
            if isinstance(result, AudioError):
                raise result
            found[index] = result
        return found if isinstance(source, (list, tuple)) else found[0]  # type: ignore[return-value]

    def transcribe_each(
        self,
        sources: Iterable[Audio],
        request: Request = Request(),  # noqa: B008 - frozen
        batch_size: int = 16,
        sampling_rate: int | None = None,
        progress: Callable[[float], object] = lambda seconds: None,
        partial: Callable[[int, str], object] | None = None,
    ) -> Iterator[tuple[int, Transcript | AudioError]]:
        """Number of a source and its transcript, or why it has none, as they are ready: in no order.

        However many the sources and however long, memory holds some batches of pieces. Settings are checked at once.
        After each batch `progress` is told the seconds of audio that it has done, `partial` the number of each source
        that is not finished and its text so far, which only grows.
        """
        if batch_size < 1:
            raise SpeechError(f"batch_size {batch_size} must be at least 1")
        decoding = self.decoding(request)
        return self._each(sources, request, decoding, batch_size, sampling_rate, progress, partial)

    def decoding(self, request: Request = Request()) -> Decoding:  # noqa: B008 - frozen
        """How a request is decoded; SpeechError for what the model cannot do."""
        return make_decoding(request, self.tokenizer, self.generation, self.has_ctc, self.has_aligner)

    def _each(self, sources, request, decoding, batch_size, rate, progress, partial) -> Iterator:
        language = request.language or self.generation.language
        open_recordings: list[Recording] = []
        window: list[tuple[Recording, int]] = []

        def work() -> None:
            window.sort(key=lambda entry: -len(entry[0].pieces[entry[1]].waveform))
            todo = [(recording, number) for recording, number in window if recording.error is None]
            for at in range(0, len(todo), batch_size):
                rows = todo[at : at + batch_size]
                pieces = [recording.pieces[number] for recording, number in rows]
                for (recording, number), heard in zip(rows, self._hear(pieces, decoding), strict=True):
                    recording.keep(number, heard)
                progress(sum(len(piece.waveform) for piece in pieces) / self.sample_rate)
                if partial is not None:
                    for recording in open_recordings:
                        partial(recording.index, recording.settled(self.tokenizer))
            window.clear()

        def finished() -> Iterator[tuple[int, Transcript | AudioError]]:
            for recording in list(open_recordings):
                if recording.finished:
                    open_recordings.remove(recording)
                    yield (
                        recording.index,
                        recording.error
                        or recording.transcript(self.tokenizer, language, self.sample_rate, request.word_timestamps),
                    )

        for index, source in enumerate(sources):
            recording = Recording(index)
            open_recordings.append(recording)
            try:
                for piece in self._pieces(source, rate, request.vad, recording):
                    recording.pieces.append(piece)
                    window.append((recording, len(recording.pieces) - 1))
                    if len(window) >= WINDOW * batch_size:
                        work()
                recording.read = True
            except AudioError as error:
                recording.error = error
            yield from finished()
        work()
        yield from finished()

    def _pieces(self, source: Audio, rate: int | None, vad: bool, recording: Recording) -> Iterator[Piece]:
        def counted() -> Iterator[np.ndarray]:
            for block in open_blocks(source, rate, self.sample_rate, Limits(max_seconds=MAX_SECONDS)):
                recording.samples += len(block)
                yield block

        blocks, begun = counted(), []
        for block in blocks:
            begun.append(block)
            if recording.samples > self.generation.max_seconds * self.sample_rate:
                break
        else:
            if not vad:
                yield Piece(0.0, self._long_enough(source, np.concatenate(begun)))
                return
        if self.detectors is None:
            self.detectors = Detectors()
            return_large_blocks()
        cutter = Cutter(self.detectors.make(self.sample_rate), self.sample_rate, self.generation.max_seconds)
        for block in chain(begun, blocks):
            yield from cutter.push(block)
        yield from cutter.push(np.zeros(0, np.float32), last=True)

    def _long_enough(self, source: Audio, samples: np.ndarray) -> np.ndarray:
        if self.feature_frames(len(samples) + sum(self._padding(len(samples)))) < 1:
            what = f"{len(samples)} samples at {self.sample_rate} Hz are too short for one frame of features"
            raise AudioError(f"{name_of(source)}: {what}")
        return samples

    def load(self, source: Audio, sampling_rate: int | None = None) -> np.ndarray:
        """[samples] float32 at the model's rate; AudioError for what cannot be recognised."""
        blocks = open_blocks(source, sampling_rate, self.sample_rate, Limits(max_seconds=MAX_SECONDS))
        return self._long_enough(source, np.concatenate(list(blocks)))

    def _hear(self, pieces: Sequence[Piece], decoding: Decoding) -> list[Heard]:
        waveforms = [piece.waveform for piece in pieces]
        encoded = self.encode(waveforms)
        best = [found[0] for found in self.search(waveforms, decoding, encoded)]
        judged = [self._judge(hypothesis, encoded, row, decoding) for row, hypothesis in enumerate(best)]
        again = [row for row, verdict in enumerate(judged) if verdict.reasons]
        second = decoding.second
        if again and second is not None:
            for row, found in zip(again, self.search([waveforms[row] for row in again], second), strict=True):
                verdict = self._judge(found[0], encoded, row, decoding)
                if verdict.better_than(judged[row]):
                    best[row], judged[row] = found[0], verdict
        heard = []
        for row, (piece, hypothesis, verdict) in enumerate(zip(pieces, best, judged, strict=True)):
            words = [] if verdict.silent else self._words(hypothesis, encoded, row, piece, decoding)
            heard.append(Heard(words, hypothesis.token_log_probs[len(hypothesis.tokens) :], verdict))
        return heard

    def _judge(self, best: Hypothesis, encoded: Any, row: int, decoding: Decoding) -> Verdict:
        text, blank = self.tokenizer.decode(best.tokens).strip(), self.tokenizer.blank_id
        average = sum(best.token_log_probs) / max(1, len(best.token_log_probs))
        by_ctc = ()
        if self.has_ctc and blank is not None:
            log_probs = self.ctc_log_probs(encoded, row)
            spoken = [token for token in best.tokens if token not in self.tokenizer.times]
            by_ctc = no_speech_prob(log_probs, blank), ctc_agreement(log_probs, spoken, blank)
        return decoding.guards.judge(text, average, compression_ratio(text), *by_ctc)

    def search(
        self, waveforms: Sequence[np.ndarray], decoding: Decoding, encoded: Any = None
    ) -> list[list[Hypothesis]]:
        """[samples] arrays as `load` gives them -> n best per utterance; `encoded` where that is known already."""
        encoded = self.encode(waveforms) if encoded is None else encoded
        options, prompt, tokenizer, g = decoding.options, decoding.prompt, self.tokenizer, self.generation
        step = self.step(encoded, options.coverage_penalty > 0)
        seconds = np.array([len(w) for w in waveforms]) / self.sample_rate
        caps = np.ceil(seconds * g.max_tokens_per_second) + g.extra_tokens
        caps = np.clip(caps, 1, self.max_tokens - len(prompt) - 1).astype(int)
        if self.speculative and len(waveforms) == options.size == 1:
            assert isinstance(step, Verifier) and tokenizer.blank_id is not None
            step = Speculative(step, ctc_greedy(self.ctc_log_probs(encoded, 0), tokenizer.blank_id), int(caps[0]))
        scores, state = step.first(np.tile(np.array(prompt, np.int64), (len(waveforms), 1)))
        times = set(tokenizer.times) if decoding.word_times == "tokens" else set()
        never = [i for i in tokenizer.special_ids if i != tokenizer.eos_id and i not in times]
        rules = [suppress(never), max_repeats(g.max_repeats, LONGEST_LOOP, g.max_token_repeats)]
        scorers: list[Scorer] = [decoding.hot_words] if decoding.hot_words is not None else []
        if decoding.ctc_weight:
            assert tokenizer.blank_id is not None
            log_probs = [self.ctc_log_probs(encoded, row) for row in range(len(waveforms))]
            scorers.append(CtcPrefix(log_probs, tokenizer.blank_id, options.eos, decoding.ctc_weight, outside=never))
        return beam_search(step, scores, state, options, caps, rules, scorers)

    def _words(self, best: Hypothesis, encoded: Any, row: int, piece: Piece, decoding: Decoding) -> list[TimedWord]:
        """Words of a text with their times in the recording."""
        tokens, tokenizer = best.tokens, self.tokenizer
        if not tokens:
            return []
        shift = self._padding(len(piece.waveform))[0] / self.sample_rate
        clock = Clock(self.frame_seconds, shift, piece.waveform, self.sample_rate)
        groups = group_words([tokenizer.pieces[i] for i in tokens])
        if decoding.word_times == "tokens":
            marks = {token: seconds - shift for token, seconds in tokenizer.times.items()}
            groups, spans = marked_words(tokens, marks)
        elif decoding.word_times == "attention":
            weights = self.cross_attention(encoded, row, decoding.prompt, tokens)
            spans = word_spans(groups, attention_align(weights), clock)
        elif self.has_ctc:
            assert tokenizer.blank_id is not None
            frames = ctc_align(self.ctc_log_probs(encoded, row), tokens, tokenizer.blank_id)
            spans = word_spans(groups, frames, clock)
        else:
            texts = [tokenizer.decode([tokens[i] for i in group]) for group in groups]
            frames, frame_seconds = self.aligner_spans(piece.waveform, texts)
            clock = clock._replace(frame_seconds=frame_seconds, shift=0.0)
            spans = word_spans([[i] for i in range(len(groups))], frames, clock)
        words = []
        for group, span in zip(groups, spans, strict=True):
            own = [tokens[i] for i in group]
            sure = [best.token_log_probs[i] for i in group]
            text = tokenizer.decode(own).strip()
            words.append(TimedWord(text, own, sure, piece.start + span.start, piece.start + span.end))
        return words
