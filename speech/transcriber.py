"""Recordings of any length to transcripts, whatever runs the model: numpy only."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from speech.audio.decode import Limits, Source
from speech.audio.pieces import Cutter, Piece
from speech.audio.source import name_of, open_blocks
from speech.audio.vad import Detectors
from speech.errors import AudioError, SpeechError
from speech.generation import GenerationConfig
from speech.recording import Heard, Recording
from speech.request import WORD_TIMES, Request
from speech.search.alignment import attention_align, ctc_align
from speech.search.beam import BeamOptions, Hypothesis, Scores, beam_search
from speech.search.rules import max_repeats, suppress
from speech.search.timed_words import Clock, TimedWord, marked_words, word_spans
from speech.text.base import BaseTokenizer
from speech.text.prompt import FORMATS, Prompt
from speech.text.words import group_words
from speech.transcript import Transcript

Audio = Source | np.ndarray
MAX_REPEATS = 10  # a spoken loop longer than this is a decoder's, not a speaker's
MAX_LENGTH_PENALTY = 10.0
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
    def step(self, encoded: Any, with_attention: bool) -> FirstStep: ...

    @abstractmethod
    def ctc_log_probs(self, encoded: Any, row: int) -> np.ndarray:
        """[T, V] over the frames of a row."""

    @abstractmethod
    def cross_attention(self, encoded: Any, row: int, prompt: Sequence[int], tokens: Sequence[int]) -> np.ndarray:
        """[heads, U, T] weights by which each of U tokens was written."""

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
        progress: Callable[[float], None] = lambda seconds: None,
    ) -> Iterator[tuple[int, Transcript | AudioError]]:
        """Number of a source and its transcript, or why it has none, as they are ready: in no order.

        However many the sources and however long, memory holds some batches of pieces. Settings are checked at once.
        `progress` is told the seconds of audio that each batch has done.
        """
        if batch_size < 1:
            raise SpeechError(f"batch_size {batch_size} must be at least 1")
        how = self._word_times(request)
        prompt, options = self.prompt(request, how == "tokens"), self.options(request.beam_size, request.length_penalty)
        return self._each(sources, request, prompt, options, how, batch_size, sampling_rate, progress)

    def _each(self, sources, request, prompt, options, how, batch_size, rate, progress) -> Iterator:
        open_recordings: list[Recording] = []
        window: list[tuple[Recording, int]] = []

        def work() -> None:
            window.sort(key=lambda entry: -len(entry[0].pieces[entry[1]].waveform))
            todo = [(recording, number) for recording, number in window if recording.error is None]
            for at in range(0, len(todo), batch_size):
                rows = todo[at : at + batch_size]
                pieces = [recording.pieces[number] for recording, number in rows]
                for (recording, number), heard in zip(rows, self._hear(pieces, prompt, options, how), strict=True):
                    recording.keep(number, heard)
                progress(sum(len(piece.waveform) for piece in pieces) / self.sample_rate)
            window.clear()

        def finished() -> Iterator[tuple[int, Transcript | AudioError]]:
            for recording in list(open_recordings):
                if recording.finished:
                    open_recordings.remove(recording)
                    yield recording.index, recording.error or self._transcript(recording, request)

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
        blocks = iter(open_blocks(source, rate, self.sample_rate, Limits(max_seconds=MAX_SECONDS)))
        begun: list[np.ndarray] = []
        while recording.samples <= self.generation.max_seconds * self.sample_rate:
            block = next(blocks, None)
            if block is None:
                if not vad:
                    yield Piece(0.0, self._long_enough(source, np.concatenate(begun)))
                    return
                break
            begun.append(block)
            recording.samples += len(block)
        if self.detectors is None:
            self.detectors = Detectors()
        detector = self.detectors.make(self.sample_rate)
        cutter = Cutter(detector, self.sample_rate, self.generation.max_seconds)
        for block in begun:
            yield from cutter.push(block)
        begun.clear()
        for block in blocks:
            recording.samples += len(block)
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

    def _hear(self, pieces: Sequence[Piece], prompt: list[int], options: BeamOptions, how: str) -> list[Heard]:
        waveforms = [piece.waveform for piece in pieces]
        encoded = self.encode(waveforms)
        heard = []
        for row, (piece, [best, *_]) in enumerate(
            zip(pieces, self.search(waveforms, prompt, options, encoded, how == "tokens"), strict=True)
        ):
            words = self._words(best, encoded, row, piece, prompt, how)
            heard.append(Heard(words, best.token_log_probs[len(best.tokens) :]))
        return heard

    def search(
        self,
        waveforms: Sequence[np.ndarray],
        prompt: list[int],
        options: BeamOptions,
        encoded: Any = None,
        with_times: bool = False,
    ) -> list[list[Hypothesis]]:
        """[samples] arrays as `load` gives them -> n best per utterance; `encoded` where that is known already."""
        encoded = self.encode(waveforms) if encoded is None else encoded
        if self.generation.count_prompt:
            options = replace(options, length_offset=len(prompt))
        step = self.step(encoded, with_attention=options.coverage_penalty > 0)
        scores, state = step.first(np.tile(np.array(prompt, np.int64), (len(waveforms), 1)))
        seconds = np.array([len(w) for w in waveforms]) / self.sample_rate
        caps = np.ceil(seconds * self.generation.max_tokens_per_second) + self.generation.extra_tokens
        caps = np.clip(caps, 1, self.max_tokens - len(prompt) - 1)
        allowed = {self.tokenizer.eos_id, *(self.tokenizer.times if with_times else ())}
        rules = [suppress([i for i in self.tokenizer.special_ids if i not in allowed]), max_repeats(MAX_REPEATS)]
        return beam_search(step, scores, state, options, caps.astype(int), rules)

    def options(self, beam_size: int | None = None, length_penalty: float | None = None) -> BeamOptions:
        """Search settings, the model's own where None. SpeechError for a value out of range."""
        size = self.generation.beam_size if beam_size is None else beam_size
        alpha = self.generation.length_penalty if length_penalty is None else length_penalty
        if size < 1:
            raise SpeechError(f"beam_size {size} must be at least 1")
        if not abs(alpha) <= MAX_LENGTH_PENALTY:
            raise SpeechError(f"length_penalty {alpha:g} is outside -{MAX_LENGTH_PENALTY:g} ... {MAX_LENGTH_PENALTY:g}")
        g = self.generation
        return BeamOptions(
            eos=self.tokenizer.eos_id,
            size=size,
            length_penalty=alpha,
            temperature=g.temperature,
            eos_penalty=g.eos_penalty,
            ended_stay=g.ended_stay,
            rank_normalised=g.rank_normalised,
        )

    def prompt(self, request: Request, with_times: bool = False) -> list[int]:
        """Ids before the text."""
        own = request.language or self.generation.language
        target = request.target_language or ("en" if request.task == "translate" else own)
        asked = Prompt(request.task, own, target, self.generation.punctuation, timestamp=with_times)
        return asked.ids(self.tokenizer, self.generation.prompt_format)

    def _word_times(self, request: Request) -> str:
        """The way to word times that a request gets."""
        how, ctc = request.word_times, self.has_ctc and self.tokenizer.blank_id is not None
        tokens = bool(self.tokenizer.times) and "timestamp" in FORMATS[self.generation.prompt_format]
        if how not in WORD_TIMES:
            raise SpeechError(f"word_times {how!r} is not one of {', '.join(WORD_TIMES)}")
        if (how == "ctc" and not ctc) or (how == "tokens" and not tokens):
            lacks = "CTC head" if how == "ctc" else "tokens of time"
            raise SpeechError(f"word_times {how!r}: this model has no {lacks}; choose auto or attention")
        if how != "auto":
            return how
        return "ctc" if ctc else "tokens" if tokens and request.word_timestamps else "attention"

    def _words(
        self, best: Hypothesis, encoded: Any, row: int, piece: Piece, prompt: list[int], how: str
    ) -> list[TimedWord]:
        """Words of a text with their times in the recording."""
        if not best.tokens:
            return []
        samples = len(piece.waveform)
        clock = Clock(
            self.frame_seconds, self._padding(samples)[0] / self.sample_rate, piece.waveform, self.sample_rate
        )
        if how == "tokens":
            marks = {token: seconds - clock.shift for token, seconds in self.tokenizer.times.items()}
            groups, spans = marked_words(best.tokens, marks)
        else:
            groups = group_words([self.tokenizer.pieces[i] for i in best.tokens])
            if how == "ctc":
                assert self.tokenizer.blank_id is not None
                frames = ctc_align(self.ctc_log_probs(encoded, row), best.tokens, self.tokenizer.blank_id)
            else:
                frames = attention_align(self.cross_attention(encoded, row, prompt, best.tokens))
            spans = word_spans(groups, frames, clock)
        words = []
        for group, span in zip(groups, spans, strict=True):
            tokens = [best.tokens[i] for i in group]
            text = self.tokenizer.decode(tokens).strip()
            sure = [best.token_log_probs[i] for i in group]
            words.append(TimedWord(text, tokens, sure, piece.start + span.start, piece.start + span.end))
        return words

    def _transcript(self, recording: Recording, request: Request) -> Transcript:
        language = request.language or self.generation.language
        return recording.transcript(self.tokenizer, language, self.sample_rate, request.word_timestamps)
