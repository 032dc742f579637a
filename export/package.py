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
from export.quantize import quantize
from speech.errors import SpeechError
from speech.folder import load_folder
from speech.onnx_folder import FORMAT_VERSION, PRECISIONS, AEDGraphs, write_settings

log = logging.getLogger(__name__)
DTYPES = {"32": torch.float32, "16": torch.float16, "bf16": torch.bfloat16}
ELEMENTS = {"32": TensorProto.FLOAT, "16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16, "int8": TensorProto.FLOAT}
BESIDE = ("generation_config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer.model", "tokens.txt")


def export_aed(source: Path, out: Path, precisions: list[str]) -> None:
    """Graphs of each precision of 32, 16, bf16 and int8, and what the runtime needs beside them."""
    if unknown := [p for p in precisions if p not in PRECISIONS]:
        raise SpeechError(f"--precision {unknown[0]!r} is not one of {', '.join(PRECISIONS)}")
    loaded = load_folder(source)
    if "16" in precisions and not loaded.generation.half:
        raise SpeechError(f"--precision 16: activations of {source} pass fp16's range; choose bf16, 32 or int8")
    out.mkdir(parents=True, exist_ok=True)
    config, frontend = loaded.model.config, loaded.model.frontend
    settings = AEDGraphs(
        vocab_size=loaded.model.vocab_size,
        sample_rate=config.frontend.sample_rate,
        hop=frontend.hop,
        first_frame=frontend.win if config.frontend.kind == "kaldi" else frontend.hop,
        subsampling=loaded.model.encoder.subsampling.factor,
        heads=config.decoder.n_heads,
        head_size=config.decoder.d_model // config.decoder.n_heads,
        max_tokens=config.decoder.max_tokens,
        ctc=loaded.model.ctc is not None,
    )
    metadata = {"model_type": "aed", "onnx_format": str(FORMAT_VERSION), "sample_rate": str(settings.sample_rate)}
    for precision in precisions:
        log.info(f"{source}: graphs of precision {precision}")
        ending = PRECISIONS[precision]
        if precision == "int8":
            with TemporaryDirectory() as folder:
                save_aed(loaded.model, Path(folder), "", metadata)
                for path in Path(folder).glob("*.onnx"):
                    quantize(path, out / f"{path.stem}{ending}.onnx")
        else:
            model = load_folder(source).model
            model.lower(DTYPES[precision])
            save_aed(model, out, ending, metadata)
        save_gather(out / f"gather{ending}.onnx", ELEMENTS[precision])
    write_settings(out, "aed", settings)
    for name in BESIDE:
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)


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
    opsets = [helper.make_opsetid("", OPSET)]
    onnx.save(helper.make_model(graph, ir_version=IR_VERSION, opset_imports=opsets), path)
