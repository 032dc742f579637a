"""Providers are what was asked for, and graphs what they say."""

import logging
from importlib import metadata

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from serve import sessions
from serve.doctor import main
from serve.sessions import CPU, CUDA, Session, pick_provider
from speech.errors import SpeechError
from speech.onnx_folder import FORMAT_VERSION


@pytest.fixture
def no_cuda(monkeypatch):
    monkeypatch.setattr(sessions, "_runs_on_cuda", lambda: False)
    monkeypatch.setattr(sessions, "installed", lambda: ["onnxruntime-gpu"])
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])


def test_the_cpu_is_always_there():
    assert pick_provider("cpu") == CPU
    with pytest.raises(SpeechError, match="device 'tpu' is not one of auto, cpu, cuda"):
        pick_provider("tpu")


def test_a_missing_gpu_is_an_error_or_a_loud_line(no_cuda, caplog):
    with pytest.raises(SpeechError, match="finds no GPU, driver or CUDA library; or choose device cpu"):
        pick_provider("cuda")
    with caplog.at_level(logging.WARNING):
        assert pick_provider("auto") == CPU
    assert "no CUDA" in caplog.text and "running on the CPU" in caplog.text


def test_a_build_without_cuda_says_what_to_install(no_cuda, monkeypatch):
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CPU])
    with pytest.raises(SpeechError, match="pip install onnxruntime-gpu"):
        pick_provider("cuda")


def test_two_packages_hide_each_other(monkeypatch, caplog):
    monkeypatch.setattr(metadata, "distributions", lambda name: iter([name]))
    with pytest.raises(SpeechError, match="onnxruntime and onnxruntime-gpu are both installed.*uninstall onnxruntime"):
        pick_provider("cuda")
    assert pick_provider("auto") == CPU and "both installed" in caplog.text


def test_cuda_that_runs_is_taken(no_cuda, monkeypatch):
    monkeypatch.setattr(sessions, "_runs_on_cuda", lambda: True)
    assert pick_provider("auto") == pick_provider("cuda") == CUDA


def test_trying_cuda_prints_nothing(capfd):
    sessions._runs_on_cuda()
    assert capfd.readouterr() == ("", "")


def test_the_doctor_says_what_is_there(no_cuda, capsys):
    assert main([]) == 0
    said = capsys.readouterr().out
    assert f"onnxruntime {ort.__version__} of onnxruntime-gpu" in said and CUDA in said
    assert "CUDA does not start: onnxruntime finds no GPU" in said


def test_a_provider_that_does_not_start_is_no_silent_cpu(exported, monkeypatch):
    real = ort.InferenceSession
    monkeypatch.setattr(ort, "InferenceSession", lambda path, options, providers: real(path, options, providers=[CPU]))
    with pytest.raises(SpeechError, match="did not start, onnxruntime would run it on the CPU"):
        Session(exported / "ctc.onnx", CUDA)


def test_missing_and_truncated_graphs(exported, tmp_path):
    path, whole = tmp_path / "ctc.onnx", (exported / "ctc.onnx").read_bytes()
    with pytest.raises(SpeechError, match="ctc.onnx is missing"):
        Session(path, CPU)
    for content in (whole[: len(whole) // 2], whole[:10], b"", b"no graph at all", bytes(100)):
        path.write_bytes(content)
        with pytest.raises(SpeechError, match="ctc.onnx"):
            Session(path, CPU)


@pytest.mark.parametrize(
    "props", [{}, {"graph": "ctc", "onnx_format": "9"}, {"graph": "decoder", "onnx_format": str(FORMAT_VERSION)}]
)
def test_foreign_graphs_are_refused(exported, tmp_path, props):
    model = onnx.load(exported / "ctc.onnx")
    Session(exported / "ctc.onnx", CPU)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, props)
    onnx.save(model, tmp_path / "ctc.onnx")
    with pytest.raises(SpeechError, match=f"is no such graph in format {FORMAT_VERSION}: export the model anew"):
        Session(tmp_path / "ctc.onnx", CPU)


def test_inputs_need_not_lie_in_one_piece(exported):
    session = Session(exported / "ctc.onnx", CPU, 1)
    whole = np.random.default_rng(0).standard_normal((5, 40, 16), np.float32)
    apart = session.run({"encoded": whole[:, ::3]}, ("log_probs",))["log_probs"]
    np.testing.assert_array_equal(apart, session.run({"encoded": whole[:, ::3].copy()}, ("log_probs",))["log_probs"])
