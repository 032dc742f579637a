"""A model folder is opened as what it is."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serve.transcriber import OnnxTranscriber
from speech.errors import SpeechError
from speech.open import open_recognizer, open_synthesizer
from speech.recognizer import Recognizer


def test_recognisers_of_torch_and_exported_ones_are_opened(tiny_model, exported):
    assert isinstance(open_recognizer(tiny_model, "cpu"), Recognizer)
    assert isinstance(open_recognizer(exported, "cpu", "int8", threads=1), OnnxTranscriber)


@pytest.mark.parametrize("kind", [open_recognizer, open_synthesizer])
@pytest.mark.parametrize("text", [None, "{", "[]", '{"onnx_format": 1}', '{"model_type": "x"}'])
def test_what_is_no_model_is_told(kind, text, tmp_path):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(SpeechError, match="config.json"):
        kind(tmp_path, "cpu")


def test_the_command_transcribes_without_torch(exported, tmp_path):
    noise = 0.1 * np.random.default_rng(0).standard_normal(8000)
    soundfile.write(tmp_path / "a.wav", noise, 8000)
    command = ["transcribe", str(exported), str(tmp_path / "a.wav"), "-o", str(tmp_path), "--device", "cpu"]
    code = (
        f"import sys; from speech.cli import _dispatch; rc = _dispatch({command!r})\n"
        "print(rc, *(m for m in ('torch', 'onnx', 'librosa') if m in sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines()[-1].split() == ["0"], done.stderr
    assert (tmp_path / "a.json").is_file()
