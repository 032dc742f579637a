"""The kernels that CUDA would choose for a voice are asked for at fixed sizes, by stand-ins for the two programs."""

import shutil
from pathlib import Path

import pytest

from export.kernels import MELS, PHONEMES, cuda_kernels
from export.voice_package import settings_of
from speech.voice_folder import load_voice

CHECK_GRAPH = """
import sys, onnx
graph = onnx.load(sys.argv[1]).graph
dims = [dim for given in graph.input for dim in given.type.tensor_type.shape.dim]
assert not any(dim.dim_param for dim in dims), "every dimension is fixed"
print(*{told!r}, sep="\\n"); sys.exit(1)
"""


@pytest.fixture(params=["fastspeech", "transformer_tts"])
def voice(request, voice_folders, tmp_path):
    """Settings, and a folder whose graphs of 32 pass for those of 16."""
    source, out = voice_folders[request.param]
    folder = shutil.copytree(out, tmp_path / "voice")
    settings = settings_of(load_voice(source).model)[1]
    for name in settings.made:
        shutil.copy(folder / f"{name}.onnx", folder / f"{name}.fp16.onnx")
    return settings, folder


def told(voice, tools: Path, *lines: str) -> dict[str, str]:
    (tools / "build_stub.py").write_text("")
    (tools / "check_graph.py").write_text(CHECK_GRAPH.format(told=lines))
    return dict(cuda_kernels(voice[1], voice[0], tools))


def test_every_graph_is_asked_for(voice, tmp_path):
    one_pass = voice[0].made == ("voice",)
    names = [f"{name} on CUDA, {n} phonemes: fused" for n in PHONEMES for name in ("encoder", "decoder")]
    names = [f"{name}, captured" if "decoder" in name else name for name in names]
    expected = [f"voice on CUDA, {n} phonemes: fused" for n in PHONEMES] if one_pass else names
    found = told(voice, tmp_path, "FAIL Attention x: unfused MATH path")
    assert sorted(found) == sorted([*expected, *([] if one_pass else [f"vocoder on CUDA, {MELS} frames"])])
    assert set(found.values()) == {"FAIL Attention x: unfused MATH path"}


def test_fastspeech_alone_may_read_how_many_frames_there_are(voice, tmp_path):
    faults = set(told(voice, tmp_path, "FAIL MemcpyToHost of x: host copy in each run").values())
    assert faults == ({""} if voice[0].made == ("voice",) else {"FAIL MemcpyToHost of x: host copy in each run"})


def test_a_program_that_breaks_is_no_good_news(voice, tmp_path):
    assert set(told(voice, tmp_path, "Segmentation fault").values()) == {"Segmentation fault"}
