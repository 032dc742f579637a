"""The kernels that onnxruntime's CUDA provider would choose for a recogniser, found without a GPU.

check_graph.py and build_stub.py of the folder given do the work: the provider runs on libraries that compute nothing.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx

from speech.errors import SpeechError
from speech.onnx_folder import AEDGraphs, graph_path

FRAMES = (497, 500, 501, 504)  # of features: kernels for a score bias depend on a factor of 8
ROOM, MEMORY = 64, 128  # places of the decoder's cache and frames of the encoder
STEPS = ((1, 1, 1), (8, 8, 1), (8, 2, 1), (1, 1, 16))  # rows, utterances, tokens: greedy, a beam of 4, a draft


def cuda_kernels(out: Path, settings: AEDGraphs, tools: Path) -> Iterator[tuple[str, str]]:
    """What was checked of the graphs in fp16, and its fault or ""."""
    for name in ("build_stub.py", "check_graph.py"):
        if not (tools / name).is_file():
            raise SpeechError(f"--cuda_stub {tools}: {name} is not there")
    with TemporaryDirectory() as folder:
        built = subprocess.run([sys.executable, tools / "build_stub.py", folder], capture_output=True, text=True)
        if built.returncode:
            yield "CUDA libraries that pretend", built.stderr.strip()[-200:]
            return

        def run(name: str, dims: dict[str, int], *options: str) -> str:
            fixed = Path(folder) / f"{name}.onnx"
            _fix(graph_path(out, name, "16"), dims, fixed)
            command = [sys.executable, tools / "check_graph.py", fixed, "--stub", folder, "--no-cudnn", "--quiet"]
            done = subprocess.run([*command, *options], capture_output=True, text=True)
            lines = (done.stdout + done.stderr).splitlines()
            faults = [line for line in lines if line.startswith(("FAIL ", "check_graph: "))]
            return "; ".join(faults[:3]) if done.returncode else ""

        for rows, utterances, tokens in STEPS:
            dims = {"rows": rows, "steps": tokens, "batch": utterances, "frames": MEMORY, "cache": ROOM}
            options = ("--fill", f"frames={MEMORY - 5}", "--fill", "filled=9", "--fp16-expected", "--cuda-graph")
            what = f"decoder on CUDA, {rows} rows of {utterances} utterances, {tokens} tokens: fused, captured"
            yield what, run("decoder", dims, *options)
        for frames in FRAMES:
            samples = settings.first_frame + (frames - 1) * settings.hop
            fault = run("encoder", {"batch": 2, "samples": samples}, "--fill", f"lengths={samples}")
            yield f"encoder on CUDA, {frames} frames: fused with cuDNN and without", fault


def _fix(path: Path, dims: dict[str, int], out: Path) -> None:
    """The graph with these sizes, as sessions for CUDA graphs have them: no shape is then left to compute."""
    model = onnx.load(path)
    for given in model.graph.input:
        for dim in given.type.tensor_type.shape.dim:
            if dim.dim_param in dims:
                dim.dim_value = dims[dim.dim_param]
    onnx.save(model, out)
