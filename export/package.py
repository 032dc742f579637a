"""A model folder to a folder of graphs that serve/ runs."""

import logging
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import torch
from onnx import TensorProto, helper

from export.aed import cache_names, save_aed
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


def export_aed(source: Path, out: Path, precisions: Collection[str]) -> None:
    """Graphs of each precision of 32, 16, bf16 and int8, what the runtime needs beside them, and a card."""
    loaded = load_folder(source)
    if "16" in precisions and not loaded.generation.half:
        raise SpeechError(f"--precision 16: activations of {source} pass fp16's range; choose bf16, 32 or int8")
    if (source / ALIGNER).is_dir():
        log.warning("%s: its aligner is not exported, word times come from the decoder's attention", source)

    def save(dtype: torch.dtype, folder: Path, suffix: str) -> None:
        model = deepcopy(loaded.model)
        model.lower(dtype)
        save_aed(model, folder, suffix)

    settings = settings_of(loaded)
    save_precisions(save, settings.made, out, precisions, by_row=("decoder",))
    for precision in precisions:
        path, kind = out / f"gather{PRECISIONS[precision]}.onnx", ELEMENTS[precision]
        save_gather(path, kind, loaded.model.config.decoder.n_layers)
    write_settings(out, "aed", settings)
    loaded.tokenizer.save(out)
    shutil.copyfile(source / "generation_config.json", out / "generation_config.json")
    cells: dict[str, dict[str, str]] = {}
    for precision in held(out):
        errors = graph_errors(loaded.model, out, precision)
        cells[precision] = {name: f"{errors[name]:.1e}" if name in errors else "-" for name in settings.made}
    write_card(
        out,
        settings.made,
        cells,
        "automatic-speech-recognition",
        f"recogniser\n\nWaveforms at {settings.sample_rate} Hz in, log-probabilities out",
        "Errors: rms of the difference to torch in float32 over that of torch's values, on noise, by a CPU; it has no "
        "kernels for what shows none.\n\n```bash\nspeech transcribe THIS_FOLDER audio.wav\n```",
    )


def save_precisions(
    save: Callable[[torch.dtype, Path, str], None],
    names: Iterable[str],
    out: Path,
    precisions: Collection[str],
    by_row: Collection[str] = (),
) -> None:
    """`save` writes the graphs `names` of a kind of weights to a folder, a suffix behind each name; int8 is made of
    those in 32, of the graphs `by_row` so."""
    out.mkdir(parents=True, exist_ok=True)
    for precision in sorted(precisions, key=tuple(PRECISIONS).index):
        log.info(f"{out}: graphs of precision {precision}")
        if precision != "int8":
            save(DTYPES[precision], out, PRECISIONS[precision])
            continue
        with TemporaryDirectory() as folder:
            plain = out if "32" in precisions else Path(folder)
            if plain != out:
                save(torch.float32, plain, "")
            for name in names:
                quantize(plain / f"{name}.onnx", out / f"{name}{PRECISIONS[precision]}.onnx", name in by_row)


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


def save_gather(path: Path, element: int, layers: int) -> None:
    """past keys and values [N, S, C], rows [R] -> those rows of each: caches follow the hypotheses of a beam without
    leaving the device."""
    names = cache_names("past", layers)
    inputs = [helper.make_tensor_value_info(name, element, ["batch", "cache", "width"]) for name in names]
    outputs = [helper.make_tensor_value_info(f"new_{name}", element, ["rows", "cache", "width"]) for name in names]
    rows = helper.make_tensor_value_info("rows", TensorProto.INT64, ["rows"])
    nodes = [helper.make_node("Gather", [name, "rows"], [f"new_{name}"], axis=0) for name in names]
    graph = helper.make_graph(nodes, "gather", [*inputs, rows], outputs)
    model = helper.make_model(graph, ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)])
    helper.set_model_props(model, label(path))
    onnx.save(model, path)


def write_card(
    out: Path, made: tuple[str, ...], cells: Mapping[str, Mapping[str, str]], tag: str, what: str, notes: str
) -> None:
    """README.md with the size of every precision and its cells by column."""
    rows = [["precision", "MB", *next(iter(cells.values()))]]
    rows.append(["---"] * len(rows[0]))
    for precision, found in cells.items():
        paths = [graph_path(out, name, precision) for name in made]
        size = sum(file.stat().st_size for path in paths for file in path.parent.glob(f"{path.name}*")) / 1e6
        rows.append([precision, f"{size:.1f}", *found.values()])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    (out / "README.md").write_text(
        f"---\nlibrary_name: parlance-speech\npipeline_tag: {tag}\n---\n\n# ONNX graphs of a {what}, every attention "
        f"one fused node.\n\n{table}\n\n{notes}\n"
    )
