"""An exported recogniser that transcribes: onnxruntime and numpy, no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serve.sessions import CPU, Session, pick_provider
from serve.step import Decoder, Step
from speech.errors import SpeechError
from speech.generation import GenerationConfig
from speech.onnx_folder import ON_GPU, AEDGraphs, graph_path, read_json, read_settings
from speech.text.load import load_tokenizer
from speech.transcriber import Transcriber


@dataclass
class Encoded:
    encoded: Any
    frames: np.ndarray  # [B]
    memory: dict[str, Any]
    log_probs: np.ndarray | None = None  # [B, T, V] of the CTC head, made when it is asked for


class OnnxTranscriber(Transcriber):
    """The recogniser of a folder that `speech export` wrote. device: cpu, cuda or auto; precision: one it holds.

    `speculative` is used where it is faster: on a CPU. The texts are the same.
    """

    def __init__(
        self,
        folder: str | Path,
        device: str = "auto",
        precision: str = "32",
        threads: int = 0,
        speculative: bool = True,
    ):
        folder = Path(folder)
        self.settings = settings = read_settings(folder, "aed", AEDGraphs)
        try:
            generation = GenerationConfig(**read_json(folder / "generation_config.json"))
        except TypeError as error:
            raise SpeechError(f"{folder}: generation_config.json: {error}") from None
        super().__init__(load_tokenizer(folder), generation)
        self.sample_rate, self.max_tokens = settings.sample_rate, settings.max_tokens
        self.frame_seconds = settings.subsampling * settings.hop / settings.sample_rate
        provider = pick_provider(device)
        if precision in ON_GPU and provider == CPU:
            raise SpeechError(f"precision {precision} wants a GPU: on the CPU choose 32 or int8")

        def graph(name: str) -> Session:
            return Session(graph_path(folder, name, precision), provider, threads)

        self.encoder = graph("encoder")
        self.decoder = Decoder(graph("decoder"), graph("gather"))
        self.ctc = graph("ctc") if settings.ctc else None
        self.alignment = None if settings.ctc else graph("alignment")
        self.speculative = speculative and self.has_ctc and self.decoder.decoder.device == "cpu"

    @property
    def has_ctc(self) -> bool:  # type: ignore[override]
        return self.ctc is not None

    def feature_frames(self, samples: int) -> int:
        return self.settings.frames(samples)

    def encode(self, waveforms: Sequence[np.ndarray]) -> Encoded:
        padded = [self.padded(w) for w in waveforms]
        lengths = np.array([len(w) for w in padded])
        batch = np.zeros((len(padded), lengths.max()), np.float32)
        for row, waveform in zip(batch, padded, strict=True):
            row[: len(waveform)] = waveform
        found = self.encoder.run({"waveforms": batch, "lengths": lengths}, ("frames",))
        memory = {name: value for name, value in found.items() if name.startswith("cross_")}
        return Encoded(found["encoded"], found["frames"], memory)

    def step(self, encoded: Encoded, with_attention: bool = False) -> Step:
        assert not with_attention, "the exported decoder gives no attention"
        return Step(self.decoder, encoded.memory, encoded.frames)

    def ctc_log_probs(self, encoded: Encoded, row: int) -> np.ndarray:
        assert self.ctc is not None
        log_probs = encoded.log_probs
        if log_probs is None:
            log_probs = encoded.log_probs = self.ctc.run({"encoded": encoded.encoded}, ("log_probs",))["log_probs"]
        return log_probs[row, : encoded.frames[row]]

    def cross_attention(self, encoded: Encoded, row: int, prompt: Sequence[int], tokens: Sequence[int]) -> np.ndarray:
        if self.alignment is None:
            raise SpeechError("word_times attention is not exported of a model with a CTC head; choose auto or ctc")
        memory = self.decoder.rows(encoded.memory, np.array([row]))
        inputs = {"tokens": np.array([[*prompt, *tokens[:-1]]]), "frames": encoded.frames[row : row + 1], **memory}
        weights = self.alignment.run(inputs, ("weights",))["weights"]
        return weights[:, len(prompt) - 1 :, : encoded.frames[row]]
