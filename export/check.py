"""An exported folder against the model that it was made of: what its graphs hold, compute and say."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx
from onnx import TensorProto

from export.kernels import cuda_kernels
from export.package import ELEMENTS, settings_of
from export.parity import graph_errors, noise
from export.quantize import front_end
from serve.transcriber import OnnxTranscriber
from speech.folder import load_folder
from speech.nn.config import AEDConfig
from speech.onnx_folder import ON_GPU, AEDGraphs, graph_path, held, read_settings
from speech.recognizer import Recognizer
from speech.request import Request

LIMITS = {"32": 1e-5, "16": 1e-2, "int8": 1e-1}  # of graph_errors
FUSED = ("Attention", "MultiHeadAttention")
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
TILE = 8  # kernels of CUDA want a multiple of it for the width of a head
Finding = tuple[str, str]
"""What was checked; its fault, or ""."""


def check(
    source: Path, out: Path, precisions: Sequence[str], audio: Sequence[str], tools: Path | None
) -> Iterator[Finding]:
    """Findings of these precisions, or of all that are there; with `tools` those of the CUDA kernels too."""
    loaded, settings = load_folder(source), read_settings(out, "aed", AEDGraphs)
    yield "config.json: settings of the model", "" if settings == settings_of(loaded) else "they are others"
    for precision in precisions or held(out):
        for name in settings.made:
            path = graph_path(out, name, precision)
            graph = onnx.load(path, load_external_data=False).graph
            found = faults(graph, name, loaded.model.config, precision)
            yield f"{path.name}: attention fused, weights in place", "; ".join(found)
        for name, error in graph_errors(loaded.model, out, precision).items():
            fault = "" if error <= LIMITS[precision] else f"more than {LIMITS[precision]:.0e}"
            yield f"{graph_path(out, name, precision).name}: {error:.1e} off torch", fault
        if precision not in ON_GPU:
            yield from _texts(Recognizer(source, "cpu"), OnnxTranscriber(out, "cpu", precision), precision, audio)
    if tools is not None:
        yield from cuda_kernels(out, settings, tools)


def faults(graph: onnx.GraphProto, name: str, config: AEDConfig, precision: str) -> Iterator[str]:
    """What keeps a graph of a recogniser from fast kernels."""
    layers, part = config.decoder.n_layers, config.encoder if name == "encoder" else config.decoder
    shown = layers - layers // 2  # layers whose weights are in an alignment; it ends with those of the last one
    attentions = {
        "encoder": config.encoder.n_layers,
        "decoder": 2 * layers,
        "ctc": 0,
        "alignment": 2 * layers - 1 + shown,
    }
    yield from unfused(graph, attentions[name])
    if precision in ON_GPU and part.d_model // part.n_heads % TILE:
        yield f"heads {part.d_model // part.n_heads} wide: no multiple of {TILE}"
    yield from _weights(graph, precision)


def unfused(graph: onnx.GraphProto, attentions: int) -> Iterator[str]:
    """Attention that is not in one of so many nodes, and caches that are copied."""
    found = sum(node.op_type in FUSED for node in graph.node)
    if found != attentions:
        yield f"{found} fused attentions, not {attentions}"
    if loose := [node.name for node in graph.node if node.op_type == "Softmax"]:
        yield f"attention written out at {loose[0]}"
    made = {out: node.op_type for node in graph.node for out in node.output}
    if grown := [o.name for o in graph.output if o.name.startswith("present_") and made[o.name] != "TensorScatter"]:
        yield f"{grown[0]} is not written in place"


def _weights(graph: onnx.GraphProto, precision: str) -> Iterator[str]:
    kept = front_end(graph)
    matrices = {weight.name: weight for weight in graph.initializer if len(weight.dims) > 1}
    for node in graph.node:
        for weight in (matrices[name] for name in node.input if name in matrices and node.name not in kept):
            wide = precision == "int8" and node.op_type == "MatMul"
            if wide or (weight.data_type in FLOATS and weight.data_type != ELEMENTS[precision]):
                yield f"weight {weight.name} of {node.name} is {TensorProto.DataType.Name(weight.data_type)}"


def _texts(torch: Recognizer, ours: OnnxTranscriber, precision: str, audio: Sequence[str]) -> Iterator[Finding]:
    """Tokens by greedy search and a beam of 4, of several and of one at a time; 8 bits may say something else."""
    batches = [*noise(torch.sample_rate), *([torch.load(path)] for path in audio)]
    for size in (1, 4):
        decoding = torch.decoding(Request(beam_size=size))
        same = [
            a[0].tokens == b[0].tokens
            for batch in batches
            for a, b in zip(torch.search(batch, decoding), ours.search(batch, decoding), strict=True)
        ]
        fault = "" if all(same) or precision == "int8" else "they must be the same"
        yield f"{precision}, beam {size}: {sum(same)} of {len(same)} texts as torch's", fault
