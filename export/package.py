"""A model folder to a folder of graphs that serve/ runs."""

import logging
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import torch
from onnx import TensorProto, helper

from export.aed import save_aed
from export.ops import IR_VERSION, OPSET
from export.parity import graph_errors
from export.quantize import quantize
from speech.aligner_folder import ALIGNER
from speech.errors import SpeechError
from speech.folder import Loaded, load_folder
from speech.onnx_folder import PRECISIONS, AEDGraphs, graph_path, held, label, write_settings

log = logging.getLogger(__name__)
DTYPES = {"32": torch.float32, "16": torch.float16, "bf16": torch.bfloat16}
ELEMENTS = {"32": TensorProto.FLOAT, "16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16, "int8": TensorProto.FLOAT}


def export_aed(source: Path, out: Path, precisions: list[str]) -> None:
    """Graphs of each precision of 32, 16, bf16 and int8, what the runtime needs beside them, and a card."""
    if unknown := [p for p in precisions if p not in PRECISIONS]:
        raise SpeechError(f"--precision {unknown[0]!r} is not one of {', '.join(PRECISIONS)}")
    loaded = load_folder(source)
    if "16" in precisions and not loaded.generation.half:
        raise SpeechError(f"--precision 16: activations of {source} pass fp16's range; choose bf16, 32 or int8")
    if (source / ALIGNER).is_dir():
        log.warning("%s: its aligner is not exported, word times come from the decoder's attention", source)
    out.mkdir(parents=True, exist_ok=True)
    settings = settings_of(loaded)
    for precision in sorted(precisions, key=tuple(PRECISIONS).index):
        log.info(f"{source}: graphs of precision {precision}")
        ending = PRECISIONS[precision]
        if precision == "int8":
            with TemporaryDirectory() as folder:
                plain = out if "32" in precisions else Path(folder)
                if plain != out:
                    save_aed(loaded.model, plain, "")
                for name in settings.made:
                    quantize(plain / f"{name}.onnx", out / f"{name}{ending}.onnx", by_row=name == "decoder")
        else:
            model = load_folder(source).model
            model.lower(DTYPES[precision])
            save_aed(model, out, ending)
        save_gather(out / f"gather{ending}.onnx", ELEMENTS[precision])
    write_settings(out, "aed", settings)
    loaded.tokenizer.save(out)
    shutil.copyfile(source / "generation_config.json", out / "generation_config.json")
    (out / "README.md").write_text(_card(loaded, out, settings))


def settings_of(loaded: Loaded) -> AEDGraphs:
    config, frontend = loaded.model.config, loaded.model.frontend
    return AEDGraphs(
        vocab_size=loaded.model.vocab_size,
        sample_rate=config.frontend.sample_rate,
        hop=frontend.hop,
        first_frame=frontend.win if config.frontend.kind == "kaldi" else frontend.hop,
        subsampling=loaded.model.encoder.subsampling.factor,
        max_tokens=config.decoder.max_tokens,
        ctc=loaded.model.ctc is not None,
    )


def save_gather(path: Path, element: int) -> None:
    """x [N, H, S, D], rows [R] -> y [R, H, S, D]: caches follow the hypotheses of a beam without leaving the device."""
    dims = ["batch", "heads", "cache", "head_size"]
    graph = helper.make_graph(
        [helper.make_node("Gather", ["x", "rows"], ["y"], axis=0)],
        "gather",
        [
            helper.make_tensor_value_info("x", element, dims),
            helper.make_tensor_value_info("rows", TensorProto.INT64, ["rows"]),
        ],
        [helper.make_tensor_value_info("y", element, ["rows", *dims[1:]])],
    )
    model = helper.make_model(graph, ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)])
    helper.set_model_props(model, label(path))
    onnx.save(model, path)


def _card(loaded: Loaded, out: Path, settings: AEDGraphs) -> str:
    """Sizes and errors of every precision that the folder holds."""
    rows = [f"| precision | MB | {' | '.join(settings.made)} |", "|---" * (2 + len(settings.made)) + "|"]
    for precision in held(out):
        paths = [graph_path(out, name, precision) for name in settings.made]
        size = sum(file.stat().st_size for path in paths for file in path.parent.glob(f"{path.name}*")) / 1e6
        errors = graph_errors(loaded.model, out, precision)
        cells = (f"{errors[name]:.1e}" if name in errors else "-" for name in settings.made)
        rows.append(f"| {precision} | {size:.1f} | {' | '.join(cells)} |")
    return (
        "---\nlibrary_name: parlance-speech\npipeline_tag: automatic-speech-recognition\n---\n\n"
        "# ONNX graphs of an attention encoder-decoder recogniser\n\n"
        f"Waveforms at {settings.sample_rate} Hz in, log-probabilities out, every attention one fused node.\n\n"
        + "\n".join(rows)
        + "\n\nErrors: rms of the difference to torch in float32 over that of torch's values, on noise, measured on a "
        "CPU; it has no kernels for what shows none.\n\n"
        "```python\nfrom serve.transcriber import OnnxTranscriber\n\n"
        'print(OnnxTranscriber("THIS_FOLDER").transcribe("audio.wav").text)\n```\n'
    )
