"""An exported voice speaks as the one in torch does, and what it cannot do is told in the same words."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serve.synthesizer import OnnxSynthesizer
from speech.errors import SpeechError
from speech.onnx_folder import FORMAT_VERSION
from speech.open import open_synthesizer
from speech.synthesizer import Synthesizer
from speech.talker import Manner, Talker

TEXT = "Hallo Welt, [[500ms]] hallo du. Und dann, ja?\n[[1s]]\nSo war es - oder anders."
ANNA = Manner(speaker="Anna")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def truth(voice_folders):
    return open_synthesizer(voice_folders["fastspeech"][0], "cpu")


@pytest.fixture(scope="module")
def ours(voice_folders):
    return open_synthesizer(voice_folders["fastspeech"][1], "cpu", threads=1)


def test_a_folder_is_opened_as_what_it_is(truth, ours):
    assert isinstance(truth, Synthesizer) and isinstance(ours, OnnxSynthesizer)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"length_scale": 1.7, "pause_scale": 2.0},
        {"pitch_scale": 1.4, "energy_scale": 0.3, "volume": 20 / 3},
        {"speaker": "Bo", "language": "fr", "sentence_silence": 0.0},
    ],
)
def test_it_speaks_as_torch(truth, ours, options):
    manner = replace(ANNA, **options)
    for theirs, said in zip(truth.speak(TEXT, manner), ours.speak(TEXT, manner), strict=True):
        assert np.array_equal(theirs.frames, said.frames) and theirs.ids == said.ids
        np.testing.assert_allclose(said.waveform, theirs.waveform, atol=1e-6)
        np.testing.assert_allclose(said.mel, theirs.mel, atol=1e-5)
        assert said.waveform.dtype == np.float32 and np.abs(said.waveform).max() > 1e-3


def opened(folders) -> list[Talker]:
    return [open_synthesizer(folder, "cpu", threads=1) for folder in folders]


@pytest.mark.parametrize("seed", [0, 3, None])
def test_frame_by_frame_it_speaks_as_torch(voice_folders, tmp_path, seed):
    folders = generating(voice_folders, tmp_path, seed=seed, max_times_expected=9.0)
    lengths = []
    for speaker in ("Anna", "Bo"):
        theirs, said = (next(voice.speak("Hallo Welt, ja.", Manner(speaker=speaker))) for voice in opened(folders))
        assert theirs.mel.shape == said.mel.shape and theirs.frames is said.frames is None
        np.testing.assert_allclose(said.mel, theirs.mel, atol=1e-5)
        np.testing.assert_allclose(said.waveform, theirs.waveform, atol=1e-6)
        lengths.append(len(said.mel))
    assert max(lengths) > 9


def test_a_sentence_without_an_end_is_told_as_in_torch(voice_folders, tmp_path):
    told = []
    for voice in opened(generating(voice_folders, tmp_path, max_times_expected=0.1)):
        with pytest.raises(SpeechError) as caught:
            voice.waveform("Hallo Welt", ANNA)
        told.append(str(caught.value))
    assert told[0] == told[1] and "did not end within 10 mel frames, 0.1 times" in told[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_times_expected": 1e9}, "max_times_expected 1e\\+09 is not above 0 and at most 200"),
        ({"max_times_expected": "x"}, "generation_config.json: could not convert"),
        ({"window_heads": [[0, 0]]}, "window_heads in generation_config.json are not exported"),
    ],
)
def test_settings_of_generation_are_not_trusted(voice_folders, tmp_path, settings, message):
    with pytest.raises(SpeechError, match=message):
        open_synthesizer(generating(voice_folders, tmp_path, **settings)[1], "cpu")


def generating(voice_folders, tmp_path: Path, **settings) -> list[Path]:
    """Copies of both folders with these settings of generation."""
    copies = []
    for i, folder in enumerate(voice_folders["transformer_tts"]):
        copies.append(shutil.copytree(folder, tmp_path / str(i)))
        path = copies[-1] / "generation_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    return copies


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("Hallo", {"speaker": None}),
        ("Hallo", {"speaker": "Eve"}),
        ("Hallo", {"language": "en"}),
        ("[[q]]", {}),
        ("[[1s]]", {}),
        ("", {}),
    ],
)
def test_what_it_cannot_say_is_told_as_in_torch(truth, ours, text, options):
    told = []
    for voice in (truth, ours):
        with pytest.raises(SpeechError) as caught:
            voice.speak(text, replace(ANNA, **options))
        told.append(str(caught.value))
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("voice.onnx", None, "voice.onnx is missing: .* holds voice in precision none"),
        ("voice.onnx", "no graph", "voice.onnx is no ONNX file or a broken one"),
        ("tokens.txt", None, "tokens.txt"),
        ("phonemizer.json", "{", "phonemizer.json: not JSON"),
        (
            "config.json",
            json.dumps({"model_type": "aed", "onnx_format": FORMAT_VERSION}),
            "not of an exported fastspeech in format",
        ),
        ("config.json", json.dumps({"model_type": "fastspeech", "onnx_format": 0}), "not of an exported fastspeech"),
        (
            "config.json",
            json.dumps({"model_type": "fastspeech", "onnx_format": FORMAT_VERSION}),
            "config.json: .*sample_rate",
        ),
    ],
)
def test_a_broken_folder_is_one_line(voice_folders, tmp_path, name, text, message):
    folder = shutil.copytree(voice_folders["fastspeech"][1], tmp_path / "voice")
    (folder / name).unlink()
    if text is not None:
        (folder / name).write_text(text)
    with pytest.raises(SpeechError, match=message):
        open_synthesizer(folder, "cpu")


def test_a_precision_that_is_not_there_is_told(voice_folders):
    with pytest.raises(SpeechError, match="voice.int8.onnx is missing: .* holds voice in precision 32"):
        open_synthesizer(voice_folders["fastspeech"][1], "cpu", "int8")
    with pytest.raises(SpeechError, match="precision int8: .* speaks in 32; export it"):
        open_synthesizer(voice_folders["fastspeech"][0], "cpu", "int8")
    with pytest.raises(SpeechError, match="precision 16 wants a GPU"):
        open_synthesizer(voice_folders["fastspeech"][1], "cpu", "16")


def test_the_command_speaks_without_torch(voice_folders, tmp_path):
    out = tmp_path / "out.wav"
    command = ["synthesize", "-m", str(voice_folders["fastspeech"][1]), "-s", "Anna", "-f", str(out), "Hallo Welt"]
    code = (
        f"import sys; from speech.cli import _dispatch; rc = _dispatch([*{command!r}, '--device', 'cpu'])\n"
        "print(rc, *(m for m in ('torch', 'onnx', 'librosa') if m in sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines()[-1].split() == ["0"], done.stderr
    assert out.stat().st_size > 1000
