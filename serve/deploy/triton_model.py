"""An exported folder as a model of Triton's Python backend: recordings as files to texts, or texts to wav files.

Parameters of a request are the fields of `Request` or `Manner`; hot words are one string, `Nguyen, Kuala Lumpur:2`.
"""

import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile as sf
import triton_python_backend_utils as pb  # pyright: ignore[reportMissingImports]  # Triton brings it
from pydantic import ConfigDict, ValidationError
from pydantic.dataclasses import dataclass

from serve.errors import told
from serve.limits import Limits
from serve.sandbox import Decoded, Sandbox
from speech.errors import SpeechError
from speech.onnx_folder import is_voice
from speech.open import open_recognizer, open_synthesizer
from speech.request import Request, parse_hotwords
from speech.talker import Manner

LIMITS = Limits()
REQUEST, MANNER = (dataclass(kind, config=ConfigDict(extra="forbid"), frozen=True) for kind in (Request, Manner))


class Listener:
    given, made, settings = "audio", ("text", "transcript"), REQUEST

    def __init__(self, folder: Path, device: str, precision: str):
        self.model, self.sandbox = open_recognizer(folder, device, precision), Sandbox(LIMITS)
        self.close = self.sandbox.close

    def read(self, data: bytes) -> Decoded:
        return self.sandbox.decode(io.BytesIO(data), self.model.sample_rate)

    def answer(self, sounds: list[Decoded], request: Request) -> list[tuple | Exception]:
        found: dict[int, Any] = dict(self.model.transcribe_each(sounds, request, LIMITS.batch_size))
        each = (found[row] for row in range(len(sounds)))
        return [one if isinstance(one, Exception) else (one.text, one.render("json")) for one in each]


class Speaker:
    given, made, settings = "text", ("audio",), MANNER

    def __init__(self, folder: Path, device: str, precision: str):
        self.model = open_synthesizer(folder, device, precision)

    def close(self) -> None: ...

    def read(self, data: bytes) -> str:
        text = data.decode(errors="replace")
        if len(text) > LIMITS.characters:
            raise SpeechError(f"text: {len(text)} characters, the limit is {LIMITS.characters}")
        return text

    def answer(self, texts: list[str], manner: Manner) -> list[tuple | Exception]:
        return [(self._wav(text, manner),) for text in texts]

    def _wav(self, text: str, manner: Manner) -> bytes:
        sf.write(file := io.BytesIO(), self.model.waveform(text, manner)[0], self.model.sample_rate, format="WAV")
        return file.getvalue()


class Job(NamedTuple):
    number: int
    """of the request"""
    settings: Any
    rows: list
    shape: tuple[int, ...]


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        folder = Path(args["model_repository"], args["model_version"])
        precision = json.loads(args["model_config"])["parameters"]["precision"]["string_value"]
        device = "cuda" if args["model_instance_kind"] == "GPU" else "cpu"
        self.model = (Speaker if is_voice(folder) else Listener)(folder, device, precision)

    def execute(self, requests: list) -> list:
        """Those with the same parameters go through the model together."""
        answers, jobs = {}, []
        for number, request in enumerate(requests):
            try:
                settings = _settings(self.model.settings, json.loads(request.parameters() or "{}"))
                given = pb.get_input_tensor_by_name(request, self.model.given).as_numpy()
                jobs.append(Job(number, settings, [self.model.read(data) for data in given.flat], given.shape))
            except Exception as error:
                answers[number] = _fault(error)
        while jobs:
            alike = [job for job in jobs if job.settings == jobs[0].settings]
            jobs = [job for job in jobs if job.settings != jobs[0].settings]
            answers |= self._work(alike)
        return [answers[number] for number in range(len(requests))]

    def finalize(self) -> None:
        self.model.close()

    def _work(self, jobs: list[Job]) -> dict[int, Any]:
        try:
            found = self.model.answer([row for job in jobs for row in job.rows], jobs[0].settings)
        except Exception as error:
            if len(jobs) > 1:  # one of them is at fault
                return {number: answer for job in jobs for number, answer in self._work([job]).items()}
            found = [error]
        answers = {}
        for job in jobs:
            mine, found = found[: len(job.rows)], found[len(job.rows) :]
            answers[job.number] = self._response(mine, job.shape)
        return answers

    def _response(self, rows: list, shape: tuple[int, ...]) -> Any:
        if faults := [row for row in rows if isinstance(row, Exception)]:
            return _fault(faults[0])
        columns = (np.array(column, np.object_).reshape(shape) for column in zip(*rows, strict=True))
        return pb.InferenceResponse([pb.Tensor(name, x) for name, x in zip(self.model.made, columns, strict=True)])


def _settings(kind: Any, values: dict[str, Any]) -> Any:
    if isinstance(words := values.get("hotwords"), str):
        values["hotwords"] = parse_hotwords(words)
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        raise SpeechError(f"parameter {first['loc'][0]}: {first['msg']}") from None


def _fault(error: Exception) -> Any:
    fault = told(error)
    if fault.status_code < 500:
        return pb.InferenceResponse([], pb.TritonError(fault.detail, pb.TritonError.INVALID_ARG))
    return pb.InferenceResponse([], pb.TritonError("the model failed; the server's log says why"))
