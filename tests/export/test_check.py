"""The check finds what is wrong with a folder, and nothing where all is well."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from onnx import helper, numpy_helper

from export import kernels
from export.check import check, faults
from export.kernels import cuda_kernels
from speech.cli import main
from speech.errors import SpeechError
from speech.folder import load_folder
from speech.onnx_folder import AEDGraphs, read_settings


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return shutil.copytree(exported, tmp_path / "copy")


def command(capsys, *argv: object) -> tuple[int, list[str]]:
    with pytest.raises(SystemExit) as ended:
        main(["export", *map(str, argv)])
    return int(ended.value.code or 0), capsys.readouterr().out.splitlines()


def test_a_good_folder_passes(tiny_model, exported, tmp_path, capsys):
    sound = 0.3 * np.random.default_rng(0).standard_normal(9001)
    soundfile.write(tmp_path / "a.wav", sound, 8000)
    code, lines = command(capsys, tiny_model, exported, "--check", tmp_path / "a.wav")
    assert code == 0 and all(line.startswith("ok ") for line in lines), lines
    assert len(lines) == 1 + 2 * (3 + 3 + 2)
    assert "ok    32, beam 4: 13 of 13 texts as torch's" in lines


def test_other_weights_are_found(tiny_model, copy, capsys):
    model = onnx.load(copy / "decoder.onnx")
    [bias] = [weight for weight in model.graph.initializer if weight.name == "decoder.head_bias"]
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(np.arange(bias.dims[0])), bias.name))
    onnx.save(model, copy / "decoder.onnx")
    code, lines = command(capsys, tiny_model, copy, "--check", "--precision", "32")
    bad = [line for line in lines if line.startswith("FAIL")]
    assert code == 1 and "decoder.onnx" in bad[0] and "off torch: more than 1e-05" in bad[0]
    assert any("texts as torch's: they must be the same" in line for line in bad)


def test_settings_of_another_model_are_found(tiny_model, copy):
    settings = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**settings, "hop": 160}))
    assert next(check(tiny_model, copy, [], [], None)) == ("config.json: settings of the model", "they are others")


def test_what_keeps_a_graph_from_fast_kernels_is_named(tiny_model, exported):
    config = load_folder(tiny_model).model.config

    def graph(name: str) -> onnx.GraphProto:
        return onnx.load(exported / name).graph

    assert not list(faults(graph("decoder.onnx"), "decoder", config, "32"))
    loose, grown, lost = graph("decoder.onnx"), graph("decoder.onnx"), graph("encoder.onnx")
    loose.node.append(helper.make_node("Softmax", ["x"], ["y"], name="by_hand"))
    assert list(faults(loose, "decoder", config, "32")) == ["attention written out at by_hand"]
    for node in grown.node:
        if node.op_type == "TensorScatter":
            node.op_type = "Concat"
    assert list(faults(grown, "decoder", config, "32")) == ["present_key_0 is not written in place"]
    lost.node.remove(next(node for node in lost.node if node.op_type == "MultiHeadAttention"))
    assert list(faults(lost, "encoder", config, "32")) == ["0 fused attentions, not 1"]
    assert "is FLOAT" in next(faults(graph("encoder.onnx"), "encoder", config, "int8"))
    config.decoder.n_heads = 4
    assert "heads 4 wide: no multiple of 8" in list(faults(graph("decoder.onnx"), "decoder", config, "16"))


CHECK_GRAPH = """
import sys, onnx
path, fault = sys.argv[1], {fault!r}
print(*sys.argv[1:])
dims = [d for i in onnx.load(path).graph.input for d in i.type.tensor_type.shape.dim]
assert not any(d.dim_param for d in dims), "every dimension is fixed"
if fault in path: print("FAIL Attention x: unfused MATH path"); sys.exit(1)
"""


@pytest.fixture
def tools(tmp_path):
    """Stand-ins for the two programs that look at the CUDA provider."""

    def make(fault: str = "nothing", built: str = "") -> Path:
        (tmp_path / "build_stub.py").write_text(built)
        (tmp_path / "check_graph.py").write_text(CHECK_GRAPH.format(fault=fault))
        return tmp_path

    return make


def test_kernels_are_asked_for_at_fixed_sizes(copy, tools):
    settings = read_settings(copy, "aed", AEDGraphs)
    for name in ("encoder", "decoder"):
        shutil.copy(copy / f"{name}.onnx", copy / f"{name}.fp16.onnx")
    count = len(kernels.STEPS) + len(kernels.FRAMES)
    assert [fault for _, fault in cuda_kernels(copy, settings, tools())] == [""] * count
    found = [fault for what, fault in cuda_kernels(copy, settings, tools("encoder")) if "encoder" in what]
    assert found == ["FAIL Attention x: unfused MATH path"] * len(kernels.FRAMES)
    assert list(cuda_kernels(copy, settings, tools(built="raise SystemExit('no gcc')"))) == [
        ("CUDA libraries that pretend", "no gcc")
    ]


def test_wrong_usage_is_one_line(tiny_model, exported, tmp_path, tools, capsys):
    with pytest.raises(SpeechError, match="build_stub.py is not there"):
        list(cuda_kernels(exported, read_settings(exported, "aed", AEDGraphs), tmp_path / "nowhere"))
    code, _ = command(capsys, tiny_model, tmp_path / "out", "--cuda_stub", tools())
    assert code == 2 and not (tmp_path / "out").exists()
    with pytest.raises(SpeechError, match="holds no precision 16"):
        list(check(tiny_model, exported, ["int8"], [], tools()))
