"""A model folder that transcribes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from speech.audio.decode import Limits, Source, decode
from speech.audio.resample import resample
from speech.errors import AudioError, SpeechError
from speech.folder import load_folder
from speech.models.aed import Encoded
from speech.models.step import TorchStep
from speech.search.beam import BeamOptions, Hypothesis, beam_search
from speech.search.rules import max_repeats, suppress
from speech.search.timestamps import Span, ctc_align, energy_db, spread, widen
from speech.text.prompt import Prompt
from speech.text.words import group_words
from speech.transcript import Segment, Transcript, Word, compression_ratio

MAX_REPEATS = 10  # a spoken loop longer than this is a decoder's, not a speaker's
MAX_LENGTH_PENALTY = 10.0


def pick_device(choice: str) -> torch.device:
    if choice == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(choice)
    except RuntimeError:
        raise SpeechError(f"device {choice!r} is unknown; choose auto, cpu or cuda") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SpeechError(f"device {choice} is not available: torch sees no such GPU; choose device cpu or auto")
    return device


class Recognizer:
    """Waveforms to transcripts; batch of n equals n single calls."""

    def __init__(self, folder: str | Path, device: str = "auto"):
        self.device = pick_device(device)
        loaded = load_folder(folder)
        self.model, self.tokenizer, self.generation = loaded.model.to(self.device), loaded.tokenizer, loaded.generation
        self.sample_rate = self.model.config.frontend.sample_rate

    def _prompt(self, language: str | None, task: str, target_language: str | None = None) -> list[int]:
        own = language or self.generation.language
        target = target_language or ("en" if task == "translate" else own)
        prompt = Prompt(task, own, target, self.generation.punctuation)
        return prompt.ids(self.tokenizer, self.generation.prompt_format)

    def _padding(self, samples: int) -> tuple[int, int]:
        """Samples of silence before and after a recording."""
        pad = round(self.generation.pad_seconds * self.sample_rate)
        short = max(0, round(self.generation.min_seconds * self.sample_rate) - samples - 2 * pad)
        return pad + (short + 1) // 2, pad + short // 2

    @torch.inference_mode()
    def encode(self, waveforms: Sequence[np.ndarray]) -> Encoded:
        """[samples] arrays as `load` gives them."""
        padded = [torch.from_numpy(np.pad(w, self._padding(len(w)))) for w in waveforms]
        lengths = torch.tensor([len(w) for w in padded])
        batch = torch.nn.utils.rnn.pad_sequence(padded, batch_first=True)
        return self.model.encode(batch.to(self.device), lengths.to(self.device))

    def search(
        self,
        waveforms: Sequence[np.ndarray],
        prompt: list[int],
        options: BeamOptions,
        encoded: Encoded | None = None,
    ) -> list[list[Hypothesis]]:
        """[samples] arrays as `load` gives them -> n best per utterance; `encoded` where that is known already."""
        encoded = self.encode(waveforms) if encoded is None else encoded
        if self.generation.count_prompt:
            options = replace(options, length_offset=len(prompt))
        step = TorchStep(self.model, encoded, with_attention=options.coverage_penalty > 0)
        scores, state = step.first(np.tile(np.array(prompt, np.int64), (len(waveforms), 1)))
        seconds = np.array([len(w) for w in waveforms]) / self.sample_rate
        room = self.model.config.decoder.max_tokens - len(prompt) - 1
        caps = np.ceil(seconds * self.generation.max_tokens_per_second) + self.generation.extra_tokens
        caps = np.clip(caps, 1, room)
        never = [i for i in self.tokenizer.special_ids if i != self.tokenizer.eos_id]
        rules = [suppress(never), max_repeats(MAX_REPEATS)]
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

    def transcribe(
        self,
        source: Source | np.ndarray | Sequence[Source | np.ndarray],
        *,
        sampling_rate: int | None = None,
        language: str | None = None,
        task: str = "transcribe",
        batch_size: int = 16,
        beam_size: int | None = None,
        length_penalty: float | None = None,
        word_timestamps: bool = False,
        target_language: str | None = None,
    ) -> Transcript | list[Transcript]:
        """A path, bytes, file or [samples] array with `sampling_rate` -> Transcript; a list of them -> a list.

        Word times come from the model's CTC head; SpeechError for a model without one. `target_language` is that of a
        translation, English where it is not given.
        """
        if batch_size < 1:
            raise SpeechError(f"batch_size {batch_size} must be at least 1")
        prompt, options = self._prompt(language, task, target_language), self.options(beam_size, length_penalty)
        if word_timestamps and (self.model.ctc is None or self.tokenizer.blank_id is None):
            raise SpeechError("word_timestamps need a model with a CTC head (ctc in config.json), this one has none")
        many = isinstance(source, (list, tuple))
        waveforms = [self.load(one, sampling_rate) for one in (source if many else [source])]  # type: ignore[union-attr]
        order = sorted(range(len(waveforms)), key=lambda i: -len(waveforms[i]))
        found: dict[int, Transcript] = {}
        for at in range(0, len(order), batch_size):
            rows = order[at : at + batch_size]
            batch = [waveforms[i] for i in rows]
            encoded = self.encode(batch)
            for k, (i, best) in enumerate(zip(rows, self.search(batch, prompt, options, encoded), strict=True)):
                words = self._words(best[0], encoded, k, batch[k]) if word_timestamps else []
                found[i] = self._transcript(best[0], words, len(batch[k]) / self.sample_rate, language)
        return [found[i] for i in range(len(waveforms))] if many else found[0]

    def load(self, source: Source | np.ndarray, sampling_rate: int | None = None) -> np.ndarray:
        """[samples] float32 at the model's rate, as `search` takes it; SpeechError for what cannot be recognised."""
        is_array = isinstance(source, np.ndarray)
        name, samples = self._resample(source, sampling_rate) if is_array else self._decode(source)
        if int(self.model.frontend.frames(torch.tensor(len(samples) + sum(self._padding(len(samples)))))) < 1:
            rate = self.sample_rate
            raise AudioError(f"{name}: {len(samples)} samples at {rate} Hz are too short for one frame of features")
        return samples

    @property
    def _limit(self) -> str:
        return f"the limit is {self.generation.max_seconds:g} s (max_seconds in generation_config.json)"

    def _decode(self, source: Source) -> tuple[str, np.ndarray]:
        if isinstance(source, (str, Path)):
            name = str(source)
        elif isinstance(source, bytes):
            name = "audio bytes"
        elif hasattr(source, "read"):
            name = str(getattr(source, "name", "audio stream"))
        else:
            raise SpeechError(f"{type(source).__name__} is no audio: give a path, bytes, a file or a numpy array")
        limit = self.generation.max_seconds
        # decoding a second past the limit shows that a recording is too long
        samples = decode(source, self.sample_rate, duration=limit + 1, limits=Limits(max_seconds=limit + 2))
        if len(samples) > limit * self.sample_rate:
            raise AudioError(f"{name}: longer than can be recognised at once, {self._limit}")
        return name, samples

    def _resample(self, x: np.ndarray, rate: int | None) -> tuple[str, np.ndarray]:
        name, allowed = f"array of shape {x.shape}", Limits()
        if x.ndim != 1 or not len(x):
            raise AudioError(f"{name}: needs samples in one dimension")
        if not np.issubdtype(x.dtype, np.floating):
            raise AudioError(f"{name}: has {x.dtype} samples, needs floating-point ones in [-1, 1]")
        if rate is None:
            raise SpeechError(f"{name}: needs sampling_rate")
        if not allowed.min_sample_rate <= rate <= allowed.max_sample_rate:
            low, high = allowed.min_sample_rate, allowed.max_sample_rate
            raise SpeechError(f"{name}: sampling_rate {rate} Hz is outside {low} ... {high} Hz")
        if not np.isfinite(x).all():
            raise AudioError(f"{name}: has samples that are NaN or infinite")
        if len(x) > self.generation.max_seconds * rate:
            raise AudioError(f"{name}: {len(x) / rate:.1f} s long, {self._limit}")
        return name, resample(x, rate, self.sample_rate)

    @torch.inference_mode()
    def _words(self, best: Hypothesis, encoded: Encoded, row: int, waveform: np.ndarray) -> list[Word]:
        """Words of a text with their times, by alignment on the CTC head and the energy of the waveform [samples]."""
        if not best.tokens:
            return []
        groups = group_words([self.tokenizer.pieces[i] for i in best.tokens])
        frames = int(encoded.lengths[row])
        assert self.tokenizer.blank_id is not None
        log_probs = self.model.ctc_log_probs(encoded.encoded[row, :frames]).cpu().numpy()
        spans = ctc_align(log_probs, best.tokens, self.tokenizer.blank_id)
        seconds = len(waveform) / self.sample_rate
        if spans is None:
            times = spread(len(groups), seconds)
        else:
            frame = self.model.encoder.subsampling.factor * self.model.config.frontend.hop_ms / 1000
            shift = self._padding(len(waveform))[0] / self.sample_rate
            ends = [(spans[g[0]].start * frame - shift, spans[g[-1]].end * frame - shift) for g in groups]
            peaks = [Span(min(max(0.0, a), seconds), min(max(0.0, b), seconds)) for a, b in ends]
            times = widen(peaks, energy_db(waveform, self.sample_rate))
        words = []
        for group, time in zip(groups, times, strict=True):
            text = self.tokenizer.decode([best.tokens[i] for i in group]).strip()
            sure = float(np.exp(np.mean([best.token_log_probs[i] for i in group])))
            words.append(Word(text, round(time.start, 3), round(min(time.end, seconds), 3), round(sure, 4)))
        return words

    def _transcript(self, best: Hypothesis, words: list[Word], seconds: float, language: str | None) -> Transcript:
        text = self.tokenizer.decode(best.tokens).strip()
        average = best.log_prob / max(1, len(best.token_log_probs))
        segment = Segment(0, 0.0, seconds, text, best.tokens, average, compression_ratio(text), words=words)
        return Transcript(text, [segment] if text else [], language or self.generation.language, seconds)


def load_model(folder: str | Path, device: str = "auto") -> Recognizer:
    """The recogniser of a model folder."""
    return Recognizer(folder, device)
