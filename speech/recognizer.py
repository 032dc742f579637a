"""A model folder that transcribes, by torch."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from speech.aligner_folder import ALIGNER, load_aligner
from speech.errors import SpeechError
from speech.folder import load_folder
from speech.models.aed import Encoded
from speech.models.cross_weights import cross_weights
from speech.models.step import TorchStep
from speech.nn.attention import KV
from speech.nn.layers import store_by_input
from speech.search.alignment import Span, ctc_align
from speech.transcriber import Transcriber

PRECISIONS = {"32": torch.float32, "bf16": torch.bfloat16, "16": torch.float16}


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


class Recognizer(Transcriber):
    """The recogniser of a model folder."""

    def __init__(self, folder: str | Path, device: str = "auto", precision: str = "32"):
        self.device = pick_device(device)
        if precision not in PRECISIONS:
            raise SpeechError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
        loaded = load_folder(folder)
        if precision == "16" and not loaded.generation.half:
            raise SpeechError(
                f"precision 16: activations of {folder} pass fp16's range and give garbage; choose bf16 or 32"
            )
        super().__init__(loaded.tokenizer, loaded.generation)
        loaded.model.lower(PRECISIONS[precision])
        self.model = loaded.model.to(self.device)
        if self.device.type == "cpu":
            store_by_input(self.model.decoder)
        config = self.model.config
        self.sample_rate = config.frontend.sample_rate
        self.frame_seconds = self.model.encoder.subsampling.factor * config.frontend.hop_ms / 1000
        self.max_tokens = config.decoder.max_tokens
        beside = Path(folder) / ALIGNER
        self.aligner = load_aligner(beside) if beside.is_dir() else None
        self.has_aligner = self.aligner is not None
        if self.aligner is not None:
            self.aligner.model.to(self.device)

    @property
    def has_ctc(self) -> bool:  # type: ignore[override]
        return self.model.ctc is not None

    @torch.inference_mode()
    def encode(self, waveforms: Sequence[np.ndarray]) -> Encoded:
        padded = [torch.from_numpy(self.padded(w)) for w in waveforms]
        lengths = torch.tensor([len(w) for w in padded])
        batch = torch.nn.utils.rnn.pad_sequence(padded, batch_first=True)
        return self.model.encode(batch.to(self.device), lengths.to(self.device))

    def feature_frames(self, samples: int) -> int:
        return int(self.model.frontend.frames(torch.tensor(samples)))

    def step(self, encoded: Encoded, with_attention: bool = False) -> TorchStep:
        return TorchStep(self.model, encoded, with_attention)

    @torch.inference_mode()
    def ctc_log_probs(self, encoded: Encoded, row: int) -> np.ndarray:
        return self.model.ctc_log_probs(encoded.encoded[row, : int(encoded.lengths[row])]).cpu().numpy()

    @torch.inference_mode()
    def aligner_spans(self, waveform: np.ndarray, words: Sequence[str]) -> tuple[list[Span] | None, float]:
        assert self.aligner is not None
        model = self.aligner.model
        sound = torch.from_numpy(np.ascontiguousarray(waveform)).to(self.device)
        log_probs, _ = model.log_probs(sound[None], torch.tensor([len(sound)], device=self.device))
        ids = [self.aligner.encode(word) or [0] for word in words]  # 0 is <unk>
        spans = ctc_align(log_probs[0].cpu().numpy(), list(chain.from_iterable(ids)), model.blank_id)
        if spans is None:
            return None, model.frame_seconds
        ends = np.cumsum([len(one) for one in ids])
        return [
            Span(spans[e - len(one)].start, spans[e - 1].end) for one, e in zip(ids, ends, strict=True)
        ], model.frame_seconds

    @torch.inference_mode()
    def cross_attention(self, encoded: Encoded, row: int, prompt: Sequence[int], tokens: Sequence[int]) -> np.ndarray:
        written = torch.tensor([[*prompt, *tokens[:-1]]], device=self.device)
        frames = int(encoded.lengths[row])
        memory = [KV(kv.k[row : row + 1, :, :frames], kv.v[row : row + 1, :, :frames]) for kv in encoded.memory]
        return cross_weights(self.model.decoder, written, memory, None)[:, len(prompt) - 1 :].float().cpu().numpy()


def load_model(folder: str | Path, device: str = "auto", precision: str = "32") -> Recognizer:
    """The recogniser of a model folder; precision 32, bf16 or 16."""
    return Recognizer(folder, device, precision)
