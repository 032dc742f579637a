"""onnxruntime sessions: which provider runs, and graphs that are what they say."""

import logging
from contextlib import redirect_stdout
from functools import cache
from importlib import metadata
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from serve.external import check_external
from speech.errors import SpeechError, one_line
from speech.onnx_folder import FORMAT_VERSION, label

log = logging.getLogger(__name__)
DEVICES = ("auto", "cpu", "cuda")
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

# one for all sessions, which run in turn: each would keep its own peak
ort.create_and_register_allocator(
    ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT),
    ort.OrtArenaCfg(0, -1, -1, -1),
)


def installed() -> list[str]:
    """The onnxruntime packages of this environment; two of them hide each other's CUDA."""
    names = ("onnxruntime", "onnxruntime-gpu")
    return [name for name in names if next(iter(metadata.distributions(name=name)), None) is not None]


def pick_provider(device: str) -> str:
    """The provider of a device. SpeechError where CUDA is asked for and cannot run; auto says what it took."""
    if device not in DEVICES:
        raise SpeechError(f"device {device!r} is not one of {', '.join(DEVICES)}")
    if device == "cpu":
        return CPU
    reason = cuda_fault()
    if reason is None:
        return CUDA
    if device == "cuda":
        raise SpeechError(f"device cuda cannot be used: {reason}; or choose device cpu")
    _warn(reason)
    return CPU


@cache
def _warn(reason: str) -> None:
    """Once, however many models there are."""
    log.warning("no CUDA (%s): running on the CPU", reason)


def cuda_fault() -> str | None:
    """Why onnxruntime cannot run on a GPU here; None where it can."""
    if len(found := installed()) > 1:
        return f"{' and '.join(found)} are both installed and hide each other: pip uninstall {found[0]}"
    if CUDA not in ort.get_available_providers():
        return "this onnxruntime is built without it: pip install onnxruntime-gpu"
    if not _runs_on_cuda():
        return "onnxruntime finds no GPU, driver or CUDA library"
    return None


def _runs_on_cuda() -> bool:
    with redirect_stdout(StringIO()):
        ort.preload_dlls()  # those of the nvidia packages; it prints what is missing
    ort.set_default_logger_severity(4)  # so does this, in colours
    try:
        ort.OrtValue.ortvalue_from_numpy(np.zeros(1, np.float32), "cuda", 0)
    except Exception:  # onnxruntime has no class for it
        return False
    finally:
        ort.set_default_logger_severity(2)
    return True


class Session:
    """A graph on one provider; arrays and device values in, device values out."""

    def __init__(self, path: Path, provider: str, threads: int = 0):
        check_external(path)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it takes the cores of other sessions
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.enable_mem_pattern = False  # lengths change, and it would keep a block of memory for each
        options.log_severity_level = 3
        try:
            self.session = ort.InferenceSession(path, options, providers=[provider])
        except Exception as error:  # its exceptions share no base class
            raise SpeechError(f"{path} cannot be run: {one_line(error)}") from None
        if provider not in self.session.get_providers():
            raise SpeechError(f"{path}: {provider} did not start, onnxruntime would run it on the CPU")
        if not label(path).items() <= self.session.get_modelmeta().custom_metadata_map.items():
            raise SpeechError(f"{path} is no such graph in format {FORMAT_VERSION}: export the model anew")
        self.device = "cuda" if provider == CUDA else "cpu"
        self.inputs = {given.name: given for given in self.session.get_inputs()}
        self.outputs = {made.name: made for made in self.session.get_outputs()}

    def value(self, array: np.ndarray) -> ort.OrtValue:
        return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), self.device, 0)

    def run(self, inputs: dict[str, Any], host: tuple[str, ...] = ()) -> dict[str, Any]:
        """`host` outputs come as arrays, all others stay on the device."""
        binding = self.session.io_binding()
        given = self.bind(binding, inputs)  # owned until the end
        for name in self.outputs:
            binding.bind_output(name, "cpu" if name in host else self.device)
        self.session.run_with_iobinding(binding)
        del given
        found = dict(zip(self.outputs, binding.get_outputs(), strict=True))
        return {name: value.numpy() if name in host else value for name, value in found.items()}

    def bind(self, binding: ort.IOBinding, inputs: dict[str, Any]) -> list[ort.OrtValue]:
        values = [self.value(x) if isinstance(x, np.ndarray) else x for x in inputs.values()]
        for name, value in zip(inputs, values, strict=True):
            binding.bind_ortvalue_input(name, value)
        return values


class Bound:
    """A session whose `inputs` stay for many runs, as do the values that outputs are written to: it keeps both."""

    def __init__(self, session: Session, inputs: dict[str, Any], into: dict[str, ort.OrtValue]):
        self.session, self.binding = session, session.session.io_binding()
        self.kept = session.bind(self.binding, inputs), into
        for name, value in into.items():
            self.binding.bind_ortvalue_output(name, value)

    def run(self, inputs: dict[str, Any], into: dict[str, np.ndarray]) -> None:
        """With the other inputs; other outputs are written to arrays of their shapes."""
        given = self.session.bind(self.binding, inputs)  # owned until the end
        for name, array in into.items():
            self.binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(array))
        self.session.session.run_with_iobinding(self.binding)
        del given
