"""Where speech is: a probability for every frame of 32 ms, by Silero's network on the CPU or by energy."""

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from speech.audio.resample import Resampler

log = logging.getLogger(__name__)

RATE, FRAME, CONTEXT = 16000, 512, 64  # samples; Silero sees the 64 before each frame as well
FRAME_SECONDS = FRAME / RATE
MODEL = "silero_vad_16k_sequence.onnx"


class Detector(Protocol):
    """One recording, front to back."""

    def push(self, samples: np.ndarray, last: bool = False) -> np.ndarray:
        """Further samples -> probabilities of the frames that they complete; `last` fills the last frame with zeros."""
        ...


class _Framed:
    """Samples at any rate to whole frames at 16 kHz."""

    def __init__(self, sample_rate: int):
        self.resampler, self.rest = Resampler(sample_rate, RATE), np.zeros(0, np.float32)

    def frames(self, samples: np.ndarray, last: bool) -> np.ndarray:  # [n] -> [frames, 512]
        x = np.concatenate([self.rest, self.resampler.push(np.ascontiguousarray(samples, np.float32), last)])
        if last:
            x = np.pad(x, (0, -len(x) % FRAME))
        whole = len(x) // FRAME * FRAME
        self.rest = x[whole:]
        return x[:whole].reshape(-1, FRAME)


class Silero(_Framed):
    """silero-vad 6's model for sequences (MIT). `session` is an onnxruntime session of it."""

    def __init__(self, sample_rate: int, session: Any):
        super().__init__(sample_rate)
        self.session, self.context = session, np.zeros(CONTEXT, np.float32)
        self.state = [np.zeros((1, 1, 128), np.float32)] * 2

    def push(self, samples: np.ndarray, last: bool = False) -> np.ndarray:
        frames = self.frames(samples, last)
        if not len(frames):
            return np.zeros(0, np.float32)
        before = np.concatenate([self.context[None], frames[:-1, -CONTEXT:]])
        self.context = frames[-1, -CONTEXT:]
        inputs = {"input": np.concatenate([before, frames], 1), "h": self.state[0], "c": self.state[1]}
        found, *self.state = self.session.run(None, inputs)
        return found


class Energy(_Framed):
    """Speech is 10 dB and more above the quietest tenth of the last 10 s: a makeshift for clean recordings."""

    MARGIN_DB, FLOOR_DB, WINDOW = 10.0, -60.0, 312

    def __init__(self, sample_rate: int):
        super().__init__(sample_rate)
        self.recent = np.zeros(0)

    def push(self, samples: np.ndarray, last: bool = False) -> np.ndarray:
        level = 10 * np.log10((self.frames(samples, last).astype(np.float64) ** 2).mean(1) + 1e-12)
        known, self.recent = len(self.recent), np.concatenate([self.recent, level])
        out = np.empty(len(level), np.float32)
        for i in range(len(level)):
            floor = np.percentile(self.recent[max(0, known + i - self.WINDOW) : known + i + 1], 10)
            above = level[i] - max(floor, self.FLOOR_DB) - self.MARGIN_DB
            out[i] = 1 / (1 + np.exp(-np.clip(above, -30, 30)))
        self.recent = self.recent[-self.WINDOW :]
        return out


class Detectors:
    """Makes a detector for each recording; Silero's file is opened once, energy stands in where it is not installed."""

    def __init__(self) -> None:
        self.session: Any = None
        path = silero_path()
        if path is None:
            log.warning("pauses are found by energy: package silero-vad is not installed")
            return
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def make(self, sample_rate: int) -> Detector:
        return Silero(sample_rate, self.session) if self.session is not None else Energy(sample_rate)


def silero_path() -> Path | None:
    """The model's file in the installed package, which is not imported: it would import torch."""
    spec = find_spec("silero_vad")
    path = Path(spec.origin).parent / "data" / MODEL if spec and spec.origin else None
    return path if path and path.is_file() else None
