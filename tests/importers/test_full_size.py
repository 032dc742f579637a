"""firered-aed-l, 1140 M parameters, from a made-up checkpoint of its key list."""

import argparse
import multiprocessing
import os
import re
import sys
from pathlib import Path

import pytest
import torch

from speech.config import PRESETS
from speech.importers import firered

D, H, V, FF = 1280, 20, 7832, 5120
ARGUMENTS = dict(idim=80, odim=V, n_layers_enc=16, n_layers_dec=16, n_head=H, d_model=D, kernel_size=33)


def shapes() -> dict[str, tuple[int, ...]]:
    """The 940 names of specs: 12 and 34 + 24 per pair of layers."""
    out = {"encoder.input_preprocessor.conv.0.weight": (32, 1, 3, 3), "encoder.input_preprocessor.conv.0.bias": (32,)}
    out |= {"encoder.input_preprocessor.conv.2.weight": (32, 32, 3, 3), "encoder.input_preprocessor.conv.2.bias": (32,)}
    out |= {"encoder.input_preprocessor.out.weight": (D, 608), "encoder.input_preprocessor.out.bias": (D,)}
    out |= {"encoder.positional_encoding.pe": (1, 9999, D), "decoder.positional_encoding.pe": (1, 5000, D)}
    out |= {"decoder.tgt_word_emb.weight": (V, D), "decoder.tgt_word_prj.weight": (V, D)}
    out |= {"decoder.layer_norm_out.weight": (D,), "decoder.layer_norm_out.bias": (D,)}
    for i in range(16):
        e, d = f"encoder.layer_stack.{i}.", f"decoder.layer_stack.{i}."
        for n in (1, 2):
            out |= {f"{e}ffn{n}.net.0.{x}": (D,) for x in ("weight", "bias")}
            out |= {f"{e}ffn{n}.net.1.weight": (FF, D), f"{e}ffn{n}.net.1.bias": (FF,)}
            out |= {f"{e}ffn{n}.net.4.weight": (D, FF), f"{e}ffn{n}.net.4.bias": (D,)}
        out |= {f"{e}mhsa.pos_bias_{x}": (H, D // H) for x in "uv"}
        out |= {f"{e}mhsa.{x}.weight": (D, D) for x in ("w_qs", "w_ks", "w_vs", "fc", "linear_pos")}
        out |= {f"{e}mhsa.layer_norm_{x}.{y}": (D,) for x in "qkv" for y in ("weight", "bias")}
        out |= {f"{e}conv.pre_layer_norm.{y}": (D,) for y in ("weight", "bias")}
        out |= {f"{e}conv.batch_norm.{y}": (2 * D,) for y in ("weight", "bias")}
        out |= {f"{e}conv.pointwise_conv1.weight": (4 * D, D, 1), f"{e}conv.pointwise_conv2.weight": (D, 2 * D, 1)}
        out |= {f"{e}conv.depthwise_conv.weight": (2 * D, 1, 33)}
        out |= {f"{e}layer_norm.{y}": (D,) for y in ("weight", "bias")}
        out |= {f"{d}{x}_norm.{y}": (D,) for x in ("self_attn", "cross_attn", "mlp") for y in ("weight", "bias")}
        for x in ("self_attn", "cross_attn"):
            out |= {f"{d}{x}.{y}.weight": (D, D) for y in ("w_qs", "w_ks", "w_vs", "fc")}
            out |= {f"{d}{x}.{y}.bias": (D,) for y in ("w_qs", "w_vs", "fc")}
        out |= {f"{d}mlp.w_1.weight": (FF, D), f"{d}mlp.w_1.bias": (FF,)}
        out |= {f"{d}mlp.w_2.weight": (D, FF), f"{d}mlp.w_2.bias": (D,)}
    return out


def test_the_key_list_is_complete_and_names_every_parameter_of_the_preset():
    names = shapes()
    assert len(names) == 940 and sum(torch.Size(s).numel() for s in names.values()) == 1_169_573_728
    import yaml

    from speech.importers.names import rename
    from speech.importers.settings import Settings
    from speech.models.aed import AED
    from speech.nn.config import AEDConfig

    with torch.device("meta"):
        weights = {name: torch.empty(shape) for name, shape in names.items()}
        preset = AEDConfig.from_dict(yaml.safe_load((PRESETS / "firered-aed-l.yaml").read_text())["model"])
        model = AED(preset, V)
    assert firered.model_config(Settings(ARGUMENTS, "x"), ctc=False) == preset
    ours = {name: tensor.shape for name, tensor in model.state_dict().items() if not name.startswith("frontend.")}
    assert {name: t.shape for name, t in rename(weights, "firered").items()} == ours


def peak_kilobytes() -> int:
    """Of this program: getrusage keeps the peak of the process that started it."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def load(folder, answer):
    before = peak_kilobytes()
    model = firered.read_model(folder)
    total = sum(float(p.detach().sum()) for p in model.parameters())  # touches every weight
    answer.send((peak_kilobytes() - before, total))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts kilobytes as Linux does")
def test_loading_takes_little_more_memory_than_the_file_has_bytes(tmp_path):
    weights = {name: torch.full(shape, 0.001) for name, shape in shapes().items()}
    weights["decoder.tgt_word_prj.weight"] = weights["decoder.tgt_word_emb.weight"]
    package = {"args": argparse.Namespace(**ARGUMENTS), "model_state_dict": weights}
    torch.save(package, tmp_path / "model.pth.tar")
    del weights, package
    sums = torch.ones(2, 81, dtype=torch.float64)
    header = b"\0BDM \4" + (2).to_bytes(4, "little") + b"\4" + (81).to_bytes(4, "little")
    (tmp_path / "cmvn.ark").write_bytes(header + sums.numpy().tobytes())
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=load, args=(tmp_path, theirs))
    process.start()
    kilobytes, total = ours.recv()
    process.join()
    size = os.path.getsize(tmp_path / "model.pth.tar")
    print(f"{kilobytes * 1024 / size:.2f} of {size / 2**30:.2f} GiB")
    assert total > 0 and 0.9 * size <= kilobytes * 1024 <= 1.3 * size, "all of it is in memory, and little more"
