"""The kernels that onnxruntime's CUDA provider would choose for graphs in fp16, found without a GPU.

check_graph.py and build_stub.py of the folder given do the work: the provider runs on libraries that compute nothing.
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx

from speech.errors import SpeechError
from speech.onnx_folder import AEDGraphs, FastSpeechGraphs, TransformerTTSGraphs, graph_path, held

FRAMES = (497, 500, 501, 504)  # of features: kernels for a score bias depend on a factor of 8
ROOM, MEMORY = 64, 128  # places of the decoder's cache and frames of the encoder
STEPS = ((1, 1, 1), (8, 8, 1), (8, 2, 1), (1, 1, 16))  # rows, utterances, tokens: greedy, a beam of 4, a draft
PHONEMES, MELS = (8, 61), 500  # of a sentence
CAPTURED = "--fp16-expected --cuda-graph"
COPIED = "FAIL MemcpyToHost"  # of a FastSpeech: the number of its frames, which shapes need
Graphs = AEDGraphs | FastSpeechGraphs | TransformerTTSGraphs


def cuda_kernels(out: Path, settings: Graphs, tools: Path) -> Iterator[tuple[str, str]]:
    """What was checked of the graphs in fp16, and its fault or ""."""
    for name in ("build_stub.py", "check_graph.py"):
        if not (tools / name).is_file():
            raise SpeechError(f"--cuda_stub {tools}: {name} is not there")
    if "16" not in held(out, settings.made[0]):
        raise SpeechError(f"--cuda_stub: {out} holds no precision 16, the one to run on a GPU; export it")
    with TemporaryDirectory() as folder:
        built = subprocess.run([sys.executable, tools / "build_stub.py", folder], capture_output=True, text=True)
        if built.returncode:
            yield "CUDA libraries that pretend", built.stderr.strip()[-200:]
            return
        for name, what, dims, options in _cases(settings):
            fixed = Path(folder) / f"{name}.onnx"
            _fix(graph_path(out, name, "16"), dims, fixed)
            command = [sys.executable, tools / "check_graph.py", fixed, "--stub", folder, "--no-cudnn", "--quiet"]
            done = subprocess.run([*command, *options.split()], capture_output=True, text=True)
            lines = (done.stdout + done.stderr).splitlines()
            told = [line for line in lines if line.startswith(("FAIL ", "check_graph: "))] or lines[-1:]
            faults = [line for line in told if not (name == "voice" and line.startswith(COPIED))]
            yield f"{name} on CUDA, {what}", "; ".join(faults[:3]) if done.returncode else ""


def _cases(settings: Graphs) -> Iterator[tuple[str, str, dict[str, int], str]]:
    """Graphs, what is asked of them, their sizes, and options of check_graph.py."""
    if isinstance(settings, AEDGraphs):
        for rows, utterances, tokens in STEPS:
            dims = {"rows": rows, "steps": tokens, "batch": utterances, "frames": MEMORY, "cache": ROOM}
            what = f"{rows} rows of {utterances} utterances, {tokens} tokens: fused, captured"
            yield "decoder", what, dims, f"--fill frames={MEMORY - 5} --fill filled=9 {CAPTURED}"
        for frames in FRAMES:
            samples = settings.first_frame + (frames - 1) * settings.hop
            what = f"{frames} frames: fused with cuDNN and without"
            yield "encoder", what, {"batch": 2, "samples": samples}, f"--fill lengths={samples}"
        return
    for n in PHONEMES:
        dims, fill = {"batch": 1, "phonemes": n, "cache": ROOM}, f"--fill lengths={n}"
        if isinstance(settings, FastSpeechGraphs):
            yield "voice", f"{n} phonemes: fused", dims, fill
        else:
            yield "encoder", f"{n} phonemes: fused", dims, fill
            yield "decoder", f"{n} phonemes: fused, captured", dims, f"{fill} --fill filled=9 {CAPTURED}"
    if isinstance(settings, TransformerTTSGraphs):
        yield "vocoder", f"{MELS} frames", {"batch": 1, "frames": MELS}, f"--fill frames={MELS}"


def _fix(path: Path, dims: Mapping[str, int], out: Path) -> None:
    """The graph with these sizes, as sessions for CUDA graphs have them: no shape is then left to compute."""
    model = onnx.load(path)
    for given in model.graph.input:
        for dim in given.type.tensor_type.shape.dim:
            if dim.dim_param in dims:
                dim.dim_value = dims[dim.dim_param]
    onnx.save(model, out)
