"""A model folder that transcribes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from speech.audio.decode import Source, decode
from speech.errors import AudioError, SpeechError
from speech.folder import load_folder
from speech.models.step import TorchStep
from speech.search.beam import BeamOptions, Hypothesis, beam_search
from speech.search.rules import max_repeats, suppress
from speech.text.prompt import Prompt
from speech.transcript import Segment, Transcript, compression_ratio

MAX_REPEATS = 10  # a spoken loop longer than this is a decoder's, not a speaker's


def pick_device(choice: str) -> torch.device:
    if choice == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if choice == "cuda" and not torch.cuda.is_available():
        raise SpeechError("device cuda is not available; give --device cpu or auto")
    return torch.device(choice)


class Recognizer:
    """Waveforms to transcripts; batch of n equals n single calls."""

    def __init__(self, folder: str | Path, device: str = "auto"):
        loaded = load_folder(folder)
        self.device = pick_device(device)
        self.model, self.tokenizer, self.generation = loaded.model.to(self.device), loaded.tokenizer, loaded.generation
        self.sample_rate = self.model.config.frontend.sample_rate

    def _prompt(self, language: str | None, task: str) -> list[int]:
        own = language or self.generation.language
        target = "en" if task == "translate" else own
        return Prompt(task, own, target, self.generation.punctuation).ids(self.tokenizer)

    def search(
        self, waveforms: Sequence[np.ndarray], prompt: list[int], options: BeamOptions
    ) -> list[list[Hypothesis]]:
        """[samples] arrays at the model's rate -> n best per utterance."""
        pad = round(self.generation.pad_seconds * self.sample_rate)
        padded = [torch.from_numpy(np.pad(w, pad)) for w in waveforms]
        lengths = torch.tensor([len(w) for w in padded])
        frames = self.model.frontend.frames(lengths)
        if int(frames.min()) < 1:
            raise AudioError(f"{int(lengths.min())} samples are too short for one frame of features")
        batch = torch.nn.utils.rnn.pad_sequence(padded, batch_first=True)
        with torch.inference_mode():
            encoded = self.model.encode(batch.to(self.device), lengths.to(self.device))
        step = TorchStep(self.model, encoded, with_attention=options.coverage_penalty > 0)
        scores, state = step.first(np.tile(np.array(prompt, np.int64), (len(padded), 1)))
        seconds = np.array([len(w) for w in waveforms]) / self.sample_rate
        room = self.model.config.decoder.max_tokens - len(prompt) - 1
        caps = np.ceil(seconds * self.generation.max_tokens_per_second) + self.generation.extra_tokens
        caps = np.minimum(caps, room)
        never = [i for i in self.tokenizer.special_ids if i != self.tokenizer.eos_id]
        rules = [suppress(never), max_repeats(MAX_REPEATS)]
        return beam_search(step, scores, state, options, caps.astype(int), rules)

    def options(self, beam_size: int | None = None, length_penalty: float | None = None) -> BeamOptions:
        g = self.generation
        return BeamOptions(
            eos=self.tokenizer.eos_id,
            size=beam_size or g.beam_size,
            length_penalty=g.length_penalty if length_penalty is None else length_penalty,
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
    ) -> Transcript | list[Transcript]:
        """A path, bytes, file or [samples] array with `sampling_rate` -> Transcript; a list of them -> a list."""
        many = isinstance(source, (list, tuple))
        waveforms = [self._load(one, sampling_rate) for one in (source if many else [source])]  # type: ignore[union-attr]
        prompt, options = self._prompt(language, task), self.options(beam_size, length_penalty)
        order = sorted(range(len(waveforms)), key=lambda i: -len(waveforms[i]))
        found: dict[int, Transcript] = {}
        for at in range(0, len(order), batch_size):
            rows = order[at : at + batch_size]
            for i, best in zip(rows, self.search([waveforms[i] for i in rows], prompt, options), strict=True):
                found[i] = self._transcript(best[0], len(waveforms[i]) / self.sample_rate, language)
        return [found[i] for i in range(len(waveforms))] if many else found[0]

    def _load(self, source: Source | np.ndarray, rate: int | None) -> np.ndarray:
        if not isinstance(source, np.ndarray):
            return decode(source, self.sample_rate)
        if rate is None:
            raise SpeechError("an array needs sampling_rate")
        if source.ndim != 1 or not len(source) or not np.isfinite(source).all():
            raise AudioError(f"array of shape {source.shape}: needs finite samples in one dimension")
        from speech.audio.resample import resample

        return resample(source.astype(np.float32), rate, self.sample_rate)

    def _transcript(self, best: Hypothesis, seconds: float, language: str | None) -> Transcript:
        text = self.tokenizer.decode(best.tokens).strip()
        average = best.log_prob / max(1, len(best.token_log_probs))
        segment = Segment(0, 0.0, seconds, text, best.tokens, average, compression_ratio(text))
        return Transcript(text, [segment] if text else [], language or self.generation.language, seconds)


def load_model(folder: str | Path, device: str = "auto") -> Recognizer:
    """The recogniser of a model folder."""
    return Recognizer(folder, device)
