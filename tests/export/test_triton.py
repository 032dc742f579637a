"""A model of a Triton repository: Triton's own message takes its config.pbtxt, and its Python model, run as Triton runs
it, says what the runtime says."""

import importlib.util
import io
import json
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
from google.protobuf import json_format, text_format

from serve.limits import Limits
from serve.synthesizer import OnnxSynthesizer
from serve.transcriber import OnnxTranscriber
from speech.cli import main
from speech.talker import Manner
from speech.transcript import Transcript

messages = pytest.importorskip("tritonclient.grpc.model_config_pb2")
RATE = 8000


@dataclass
class Tensor:
    name: str
    values: np.ndarray

    def as_numpy(self) -> np.ndarray:
        return self.values


@dataclass
class TritonError:
    message: str
    code: str = "internal"
    INVALID_ARG = "invalid"


@dataclass
class InferenceResponse:
    output_tensors: list[Tensor]
    error: TritonError | None = None

    def __getitem__(self, name: str) -> Any:
        assert self.error is None, self.error
        [values] = [tensor.values for tensor in self.output_tensors if tensor.name == name]
        return values.item() if values.size == 1 else values


@dataclass
class Asked:
    inputs: dict[str, np.ndarray]
    given: dict[str, Any] = field(default_factory=dict)

    def parameters(self) -> str:
        return json.dumps(self.given) if self.given else ""


@pytest.fixture(autouse=True)
def backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Triton puts in the way of a model."""
    module = ModuleType("triton_python_backend_utils")
    for made in (Tensor, TritonError, InferenceResponse):
        setattr(module, made.__name__, made)
    module.get_input_tensor_by_name = lambda asked, name: Tensor(name, asked.inputs[name])  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delitem(sys.modules, "serve.deploy.triton_model", raising=False)


@pytest.fixture
def repository(exported, voice_folders, tmp_path, monkeypatch) -> Path:
    """An export of graphs takes long: those that are there are copied."""
    monkeypatch.setattr("export.package.export_aed", lambda _, out, precisions: shutil.copytree(exported, out))
    graphs = voice_folders["fastspeech"][1]
    monkeypatch.setattr("export.voice_package.export_voice", lambda _, out, precisions: shutil.copytree(graphs, out))
    return tmp_path


def written(source: Path, out: Path, *options: str) -> Any:
    with pytest.raises(SystemExit) as ended:
        main(["export", str(source), str(out), "--triton", *options])
    assert ended.value.code == 0
    return text_format.Parse((out / "config.pbtxt").read_text(), messages.ModelConfig())


def opened(folder: Path, config: Any) -> Any:
    """As the backend opens it: by its file, with its configuration as JSON."""
    place = importlib.util.spec_from_file_location("model", folder / "1" / "model.py")
    assert place is not None and place.loader is not None
    place.loader.exec_module(module := importlib.util.module_from_spec(place))
    model = module.TritonPythonModel()
    kind = messages.ModelInstanceGroup.Kind.Name(config.instance_group[0].kind).removeprefix("KIND_")
    told = json.dumps(json_format.MessageToDict(config, preserving_proto_field_name=True))
    given = {"model_config": told, "model_repository": str(folder), "model_version": "1"}
    model.initialize({**given, "model_instance_kind": kind, "model_instance_device_id": "0"})
    return model


def wav(seed: int, samples: int = 9000) -> bytes:
    soundfile.write(
        file := io.BytesIO(), 0.3 * np.random.default_rng(seed).standard_normal(samples), RATE, format="WAV"
    )
    return file.getvalue()


def recording(*files: bytes, **given: Any) -> Asked:
    return Asked({"audio": np.array(files, np.object_)[:, None]}, given)


def heard(model: OnnxTranscriber, file: bytes, **request: Any) -> Transcript:
    found = model.transcribe(file, **request)
    assert isinstance(found, Transcript)
    return found


def text(words: str, **given: Any) -> Asked:
    return Asked({"text": np.array([words.encode()], np.object_)}, given)


@pytest.fixture
def listener(tiny_model, repository):
    model = opened(repository / "asr", written(tiny_model, repository / "asr"))
    yield model
    model.finalize()


@pytest.fixture
def speaker(voice_folders, repository):
    return opened(repository / "tts", written(voice_folders["fastspeech"][0], repository / "tts"))


def test_the_configurations_are_those_that_triton_reads(tiny_model, voice_folders, repository):
    hears = written(tiny_model, repository / "asr", "--precision", "int8")
    assert (hears.backend, hears.max_batch_size) == ("python", Limits().batch_size)
    assert hears.dynamic_batching.max_queue_delay_microseconds == 10_000
    assert [(x.name, x.data_type, [*x.dims]) for x in hears.input] == [("audio", messages.TYPE_STRING, [1])]
    assert [(x.name, x.data_type, [*x.dims]) for x in hears.output] == [
        ("text", messages.TYPE_STRING, [1]),
        ("transcript", messages.TYPE_STRING, [1]),
    ]
    assert hears.instance_group[0].kind == messages.ModelInstanceGroup.KIND_CPU
    assert hears.parameters["precision"].string_value == "int8" and not hears.name
    speaks = written(voice_folders["fastspeech"][0], repository / "tts", "--precision", "16")
    assert speaks.max_batch_size == 0 and not speaks.HasField("dynamic_batching")
    assert [x.name for x in (*speaks.input, *speaks.output)] == ["text", "audio"]
    [group] = speaks.instance_group
    assert (group.kind, group.count, [*group.gpus]) == (messages.ModelInstanceGroup.KIND_GPU, 1, [0])
    assert {path.name for path in (repository / "asr").iterdir()} == {"1", "config.pbtxt"}


def test_texts_are_those_of_the_runtime(listener, exported):
    ours, files = OnnxTranscriber(exported, "cpu", threads=1), [wav(i, 5000 + 900 * i) for i in range(4)]
    truth = [heard(ours, file) for file in files]
    timed = heard(ours, files[3], word_timestamps=True, beam_size=2)
    calls, run = [], listener.model.model.transcribe_each
    listener.model.model.transcribe_each = lambda sounds, *rest: calls.append(len(sounds)) or run(sounds, *rest)
    answers = listener.execute(
        [
            recording(files[0]),
            recording(files[3], word_timestamps=True, beam_size="2"),
            recording(files[1], files[2]),
        ]
    )
    assert calls == [3, 1]
    assert answers[0]["text"] == truth[0].text != ""
    assert json.loads(answers[0]["transcript"]) == truth[0].to_dict()
    assert [row.item() for row in answers[2]["text"]] == [truth[1].text, truth[2].text]
    assert answers[2]["text"].shape == (2, 1)
    words = [word for segment in json.loads(answers[1]["transcript"])["segments"] for word in segment["words"]]
    assert [word["word"] for word in words] == [word.word for word in timed.words] != []


def test_what_is_wrong_with_a_request_is_told_to_it_alone(listener, monkeypatch):
    wrong = [{"beam_sise": 4}, {"beam_size": "many"}, {"language": "xx"}]
    broken = [recording(b"this is no sound"), recording(wav(0)[:44])]
    answers = listener.execute([*broken, *(recording(wav(0), **given) for given in wrong), recording(wav(0))])
    assert [answer.error and answer.error.code for answer in answers] == 5 * ["invalid"] + [None]
    assert "no audio of a known kind" in answers[0].error.message
    assert answers[2].error.message == "parameter beam_sise: Unexpected keyword argument"
    assert answers[3].error.message.startswith("parameter beam_size: Input should be a valid integer")
    encode = listener.model.model.encode
    monkeypatch.setattr(
        listener.model.model, "encode", lambda waves: 1 // 0 if min(map(len, waves)) < 6000 else encode(waves)
    )
    answers = listener.execute([recording(wav(1)), recording(wav(2, 3000))])
    assert answers[0]["text"] and answers[1].error.code == "internal"
    assert answers[1].error.message == "the model failed; the server's log says why"


def test_sound_is_that_of_the_runtime(speaker, voice_folders):
    ours = OnnxSynthesizer(voice_folders["fastspeech"][1], "cpu", threads=1)
    answers = speaker.execute([text("hallo welt", speaker="Bo", length_scale="1.5"), text("ja", speaker="Anna")])
    for answer, words, manner in (
        (answers[0], "hallo welt", Manner(speaker="Bo", length_scale=1.5)),
        (answers[1], "ja", Manner(speaker="Anna")),
    ):
        sound, rate = soundfile.read(io.BytesIO(answer["audio"]))
        truth = ours.waveform(words, manner)[0]
        assert rate == ours.sample_rate and len(sound) == len(truth) > 0
        np.testing.assert_allclose(sound, truth, atol=1 / 32000)
    wrong = [text("ja", speaker="Cy"), text("ja", length_scale=9.5), text("x" * 5000)]
    faults = [answer.error for answer in speaker.execute(wrong)]
    assert [fault.code for fault in faults] == 3 * ["invalid"]
    assert faults[2].message == "text: 5000 characters, the limit is 4096"


@pytest.mark.parametrize("options", [["--piper"], ["--precision", "32", "int8"]])
def test_options_that_do_not_go_together(voice_folders, tmp_path, options, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["export", str(voice_folders["fastspeech"][0]), str(tmp_path / "out"), "--triton", *options])
    assert ended.value.code == 2 and not (tmp_path / "out").exists()
    assert len(capsys.readouterr().err.splitlines()) == 1
