"""From a public checkpoint to a folder that transcribes."""

import io
import json
import os
import pickle
import shutil
import tarfile
from pathlib import Path

import pytest
import torch

from speech.cli import main
from speech.errors import SpeechError
from speech.importers import canary, firered
from speech.importers.convert import convert
from speech.recognizer import load_model

ROOT = Path(os.environ.get("SPEECH_FIXTURES", "/nowhere"))
CASES = sorted(path.parent for path in ROOT.glob("*/case.json"))
pytestmark = pytest.mark.skipif(not CASES, reason="SPEECH_FIXTURES is unset or has no case.json")


def source_of(case: Path) -> tuple[str, Path]:
    return ("firered", case) if (case / "model.pth.tar").exists() else ("canary", case / "model.nemo")


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_an_imported_folder_says_what_the_original_said(case, tmp_path):
    """From the wav files, with the search of the family: texts are exact."""
    facts = json.loads((case / "case.json").read_text())
    torch.set_num_threads(1)
    convert(*source_of(case), tmp_path / "model")
    model = load_model(tmp_path / "model", "cpu")
    model.generation.min_seconds = 0.0  # the searches had the clips as they are
    decoding = facts.get("decoding", facts)["searches"]
    search = decoding["beam3"]
    for i, expected in enumerate(search["utterances"]):
        samples = model.load(case / "wav" / f"utt{i}.wav")
        if "utterances" in facts:
            prompt = facts["utterances"][i]["prompt_ids"]
        else:
            prompt = model._prompt(None, "transcribe")
        options = model.options(beam_size=3, length_penalty=search["length_penalty"])
        [[best]] = model.search([samples], prompt, options)
        assert best.tokens == expected[0]["ids"]
        assert model.tokenizer.decode(best.tokens) == expected[0]["text"].strip()
        assert best.score == pytest.approx(expected[0]["score"], abs=0.02)  # from the waveform


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_transcribe_says_what_the_original_entry_point_said(case, tmp_path):
    """Clips below a second are padded, punctuation and languages asked for; prompts with context are for `search`."""
    results = json.loads((case / "case.json").read_text()).get("transcribe", {}).get("results", [])
    convert(*source_of(case), tmp_path / "model")
    model = load_model(tmp_path / "model", "cpu")
    for result in results:
        asked = result["prompt"]
        if asked["decodercontext"]:
            continue
        model.generation.punctuation = asked["pnc"] == "<|pnc|>"
        source, target = asked["source_lang"], asked["target_lang"]
        found = model.transcribe(
            case / "wav" / f"utt{result['utterance']}.wav",
            language=source,
            target_language=target,
            task="transcribe" if source == target else "translate",
            beam_size=result["beam_size"],
        )
        assert found.text == result["text"].strip(), result


def test_the_command_writes_a_folder_and_refuses_one_in_use(tmp_path, capsys):
    family, source = source_of(CASES[0])
    with pytest.raises(SystemExit) as done:
        main(["import", family, str(source), str(tmp_path / "model")])
    assert done.value.code == 0 and "parameters" in capsys.readouterr().out
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= set(os.listdir(tmp_path / "model"))
    with pytest.raises(SystemExit) as done:
        main(["import", family, str(source), str(tmp_path / "model")])
    assert done.value.code == 2 and "exists and is not empty" in capsys.readouterr().err


class Payload:
    def __reduce__(self):
        return (os.mkdir, (os.environ["CANARY_FOLDER"],))


FIRERED = [case for case in CASES if (case / "model.pth.tar").exists()]
CANARY = [case for case in CASES if (case / "model.nemo").exists()]


@pytest.fixture
def bird(tmp_path, monkeypatch):
    """A folder that a payload would make."""
    monkeypatch.setenv("CANARY_FOLDER", str(tmp_path / "payload-ran"))
    yield tmp_path / "payload-ran"
    assert not (tmp_path / "payload-ran").exists()


@pytest.mark.skipif(not FIRERED, reason="no FireRedASR case")
@pytest.mark.parametrize(
    "damage", ["payload", "cut", "empty", "text", "no args", "no cmvn", "bad cmvn", "bad dict", "key"]
)
def test_broken_firered_checkpoints_are_one_line(damage, bird, tmp_path):
    folder = tmp_path / "fr"
    shutil.copytree(FIRERED[0], folder)
    checkpoint = folder / "model.pth.tar"
    checkpoint.chmod(0o644)
    whole = checkpoint.read_bytes()
    if damage == "payload":
        checkpoint.write_bytes(pickle.dumps({"args": Payload(), "model_state_dict": {}}))
    elif damage == "cut":
        checkpoint.write_bytes(whole[: len(whole) // 2])
    elif damage in ("empty", "text"):
        checkpoint.write_bytes(b"" if damage == "empty" else b"not a checkpoint at all\n" * 9)
    elif damage == "no args":
        torch.save({"model_state_dict": {}}, checkpoint)
    elif damage == "no cmvn":
        (folder / "cmvn.ark").unlink()
    elif damage == "bad cmvn":
        (folder / "cmvn.ark").chmod(0o644)
        (folder / "cmvn.ark").write_bytes(b"\0BDM \4\xff\xff\xff\x7f\4\xff\xff\xff\x7f")
    elif damage == "bad dict":
        (folder / "dict.txt").chmod(0o644)
        (folder / "dict.txt").write_text("<blank> 0\n<unk> 7\n")
    else:
        arguments, weights = firered.read_checkpoint(checkpoint)
        import argparse

        weights = {name: tensor.clone() for name, tensor in weights.items()}
        weights["encoder.new_thing.weight"] = torch.zeros(3)
        torch.save({"args": argparse.Namespace(**arguments), "model_state_dict": weights}, checkpoint)
    with pytest.raises(SpeechError) as error:
        firered.read(folder)
    assert "\n" not in str(error.value) and "Traceback" not in str(error.value)
    if damage == "key":
        assert "1 weights of the checkpoint are not known: encoder.new_thing.weight" in str(error.value)


def archive(tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    path = tmp_path / "bad.nemo"
    with tarfile.open(path, "w") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def members_of(path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(path) as tar:
        return [(member(m.name), tar.extractfile(m).read()) for m in tar if m.isreg()]


def changed(name: str, change):
    def damage(members, tmp_path):
        return [(info, change(data) if info.name.endswith(name) else data) for info, data in members]

    return damage


def plus(*more):
    return lambda members, tmp_path: [*members, *more]


HOSTILE = {
    "parent": plus((member("../evil"), b"x")),
    "absolute": plus((member("/tmp/evil"), b"x")),
    "deep": plus((member("a/b/evil"), b"x")),
    "symlink": plus((member("link", tarfile.SYMTYPE, "/etc/passwd"), b"")),
    "hard link": plus((member("hard", tarfile.LNKTYPE, "model_config.yaml"), b"")),
    "fifo": plus((member("pipe", tarfile.FIFOTYPE), b"")),
    "device": plus((member("dev", tarfile.CHRTYPE), b"")),
    "twice": plus((member("model_config.yaml"), b"a: 1")),
    "twice by another name": plus((member("./model_config.yaml"), b"a: 1")),
    "many": plus(*((member(f"m{i}"), b"") for i in range(1100))),
    "config builds objects": changed("model_config.yaml", lambda d: b"a: !!python/object/apply:os.mkdir [x]\n"),
    "config is text": changed("model_config.yaml", lambda d: b"hello"),
    "config is bytes": changed("model_config.yaml", lambda d: b"\xff\xfe\x00"),
    "unknown value": changed("model_config.yaml", lambda d: d.replace(b"xscaling: false", b"xscaling: true")),
    "wrong type": changed("model_config.yaml", lambda d: d.replace(b"d_model: 64", b"d_model: wide")),
    "no such tokenizer": changed(
        "model_config.yaml", lambda d: d.replace(b"model_path: nemo:", b"model_path: nemo:no")
    ),
    "tokenizer path": changed("model_config.yaml", lambda d: d.replace(b"model_path: nemo:", b"model_path: ../")),
    "weights with payload": changed("model_weights.ckpt", lambda d: pickle.dumps({"x": Payload()})),
    "weights cut": changed("model_weights.ckpt", lambda d: d[: len(d) // 3]),
    "weights are a list": changed("model_weights.ckpt", lambda d: pickle.dumps([1])),
    "no weights": lambda members, tmp_path: [m for m in members if not m[0].name.endswith("weights.ckpt")],
}


@pytest.mark.skipif(not CANARY, reason="no Canary case")
@pytest.mark.parametrize("damage", HOSTILE.values(), ids=HOSTILE)
def test_hostile_archives_are_one_line(damage, bird, tmp_path):
    path = archive(tmp_path, damage(members_of(CANARY[0] / "model.nemo"), tmp_path))
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(SpeechError) as error:
        canary.read(path)
    assert "\n" not in str(error.value) and sorted(os.listdir(tmp_path)) == before


@pytest.mark.skipif(not CANARY, reason="no Canary case")
@pytest.mark.parametrize("end", [0, 100, 5000, 400000])
def test_an_archive_cut_off_is_one_line(end, tmp_path):
    (tmp_path / "cut.nemo").write_bytes((CANARY[0] / "model.nemo").read_bytes()[:end])
    with pytest.raises(SpeechError) as error:
        canary.read(tmp_path / "cut.nemo")
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not CANARY, reason="no Canary case")
def test_a_compressed_archive_is_the_same(tmp_path):
    with tarfile.open(tmp_path / "gz.nemo", "w:gz") as tar:
        for info, data in members_of(CANARY[0] / "model.nemo"):
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    plain, packed = canary.read(CANARY[0] / "model.nemo"), canary.read(tmp_path / "gz.nemo")
    ours, theirs = plain[0].state_dict(), packed[0].state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert plain[1].fingerprint == packed[1].fingerprint and plain[2] == packed[2]
