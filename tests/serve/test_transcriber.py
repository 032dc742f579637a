"""An exported recogniser says what the model in torch says, and every fault of its folder is one line."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

import serve
from serve.transcriber import OnnxTranscriber
from speech.errors import AudioError, SpeechError
from speech.onnx_folder import FORMAT_VERSION
from speech.recognizer import Recognizer, load_model
from speech.request import UNGUARDED, Request

RATE = 8000
SAMPLES = [8001, 239, 20000, 16000, 4001]


def noise(samples: int) -> np.ndarray:
    rng = np.random.default_rng(samples)
    return (rng.normal(size=samples) * np.linspace(0, 0.3, samples)).clip(-1, 1).astype(np.float32)


WAVEFORMS = [noise(n) for n in SAMPLES]


@pytest.fixture(scope="module")
def torch_model(tiny_model: Path) -> Recognizer:
    return load_model(tiny_model, "cpu")


@pytest.fixture(scope="module")
def ours(exported: Path) -> OnnxTranscriber:
    return OnnxTranscriber(exported, "cpu", threads=1)


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return shutil.copytree(exported, tmp_path / "copy")


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("asked", [{"beam_size": 1}, {"beam_size": 4}, {"beam_size": 4, "ctc_weight": 0.4}])
def test_ids_and_scores_are_those_of_torch(torch_model, ours, asked, together):
    decoding = torch_model.decoding(Request(**asked))
    assert decoding == ours.decoding(Request(**asked))
    decoding = replace(decoding, options=replace(decoding.options, n_best=asked["beam_size"]))
    batches = [WAVEFORMS] if together else [[waveform] for waveform in WAVEFORMS]
    said = set()
    for batch in batches:
        for theirs, found in zip(torch_model.search(batch, decoding), ours.search(batch, decoding), strict=True):
            assert [h.tokens for h in found] == [h.tokens for h in theirs]
            assert [h.score for h in found] == pytest.approx([h.score for h in theirs], abs=1e-4)
            assert found[0].token_log_probs == pytest.approx(theirs[0].token_log_probs, abs=1e-4)
            said.add(tuple(found[0].tokens))
    assert len(said) > 2 and all(said)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_transcripts_are_those_of_torch(torch_model, ours, batch_size):
    asked = dict(sampling_rate=RATE, batch_size=batch_size, word_timestamps=True, **UNGUARDED)
    for theirs, found in zip(
        torch_model.transcribe(WAVEFORMS, **asked), ours.transcribe(WAVEFORMS, **asked), strict=True
    ):
        assert found.text == theirs.text and found.duration == theirs.duration
        for one, other in zip(found.segments, theirs.segments, strict=True):
            assert [(w.word, w.start, w.end) for w in one.words] == [(w.word, w.start, w.end) for w in other.words]


SAY = """
import sys
sys.modules |= dict.fromkeys(("torch", "onnx", "lhotse", "lightning"))  # an import of them fails
from serve.transcriber import OnnxTranscriber
print(OnnxTranscriber(sys.argv[1], "cpu").transcribe(sys.argv[2]).text)
"""


def test_an_environment_without_torch_transcribes(ours, exported, tmp_path):
    soundfile.write(tmp_path / "a.wav", WAVEFORMS[2], RATE, subtype="FLOAT")
    root = Path(serve.__file__).parents[1]
    command = [sys.executable, "-c", SAY, exported, tmp_path / "a.wav"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ours.transcribe(WAVEFORMS[2], sampling_rate=RATE).text != ""


def test_8_bits_speak_too(exported):
    found = OnnxTranscriber(exported, "cpu", "int8", threads=1).transcribe(WAVEFORMS, sampling_rate=RATE)
    assert len(found) == len(WAVEFORMS)


def test_no_sound_is_no_text_but_an_error(torch_model, ours):
    ours.generation, before = replace(ours.generation, pad_seconds=0.0), ours.generation
    try:
        for samples in (0, 79):
            with pytest.raises(AudioError, match="needs samples" if samples == 0 else "79 samples .* too short"):
                ours.transcribe(np.zeros(samples, np.float32), sampling_rate=RATE)
        assert ours.feature_frames(80) == torch_model.feature_frames(80) == 1
        ours.transcribe(np.zeros(80, np.float32), sampling_rate=RATE)
    finally:
        ours.generation = before


@pytest.mark.parametrize("samples", [0, 79, 80, 81, 8001])
def test_frames_are_counted_as_in_torch(torch_model, ours, samples):
    assert ours.feature_frames(samples) == torch_model.feature_frames(samples)


def test_times_by_attention_are_not_there(ours):
    with pytest.raises(SpeechError, match="word_times attention is not exported.*choose auto or ctc"):
        ours.transcribe(WAVEFORMS[0], sampling_rate=RATE, word_timestamps=True, word_times="attention", **UNGUARDED)


def test_precisions_are_told(exported):
    for precision in ("16", "bf16"):
        with pytest.raises(SpeechError, match=f"precision {precision} wants a GPU: on the CPU choose 32 or int8"):
            OnnxTranscriber(exported, "cpu", precision)
    with pytest.raises(SpeechError, match="precision '64' is not one of 32, 16, bf16, int8"):
        OnnxTranscriber(exported, "cpu", "64")


@pytest.mark.parametrize("name", ["encoder.onnx", "decoder.onnx", "gather.onnx", "ctc.onnx"])
def test_a_missing_graph_says_what_is_there(copy, name):
    (copy / name).unlink()
    with pytest.raises(SpeechError, match=rf"{name} is missing: .* holds {name[:-5]} in precision int8"):
        OnnxTranscriber(copy, "cpu")


def test_a_graph_of_another_name_is_refused(copy):
    shutil.copy(copy / "decoder.onnx", copy / "encoder.onnx")
    with pytest.raises(SpeechError, match="encoder.onnx is no such graph"):
        OnnxTranscriber(copy, "cpu")


@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, None])
def test_settings_that_cannot_be_read(copy, name, content):
    (copy / name).unlink() if content is None else (copy / name).write_bytes(content)
    with pytest.raises(SpeechError, match=rf"{name}: (cannot be read|not JSON|not a JSON object)"):
        OnnxTranscriber(copy, "cpu")


@pytest.mark.parametrize("change", [{"onnx_format": FORMAT_VERSION + 1}, {"model_type": "tts"}, {"onnx_format": None}])
def test_another_format_is_refused(copy, change):
    settings = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**settings, **change}))
    with pytest.raises(SpeechError, match=f"not of an exported aed in format {FORMAT_VERSION}: export anew"):
        OnnxTranscriber(copy, "cpu")


@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
def test_unknown_settings_are_named(copy, name):
    settings = json.loads((copy / name).read_text())
    (copy / name).write_text(json.dumps({**settings, "unheard": 1}))
    with pytest.raises(SpeechError, match=f"{name}: .*unheard"):
        OnnxTranscriber(copy, "cpu")


def test_a_model_folder_is_no_exported_one(tiny_model):
    with pytest.raises(SpeechError, match="not of an exported aed"):
        OnnxTranscriber(tiny_model, "cpu")
