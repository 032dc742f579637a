"""From a public checkpoint to a folder that transcribes."""

import argparse
import io
import json
import math
import os
import pickle
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from speech.audio.decode import decode
from speech.cli import main
from speech.errors import SpeechError
from speech.folder import load_folder
from speech.importers import canary, firered
from speech.importers.convert import convert
from speech.models.step import TorchStep
from speech.recognizer import load_model
from speech.search.beam import BeamOptions, beam_search

ROOT = Path(os.environ.get("SPEECH_FIXTURES", "/nowhere"))
CASES = sorted(path.parent for path in ROOT.glob("*/case.json"))
pytestmark = pytest.mark.skipif(not CASES, reason="SPEECH_FIXTURES is unset or has no case.json")


def source_of(case: Path) -> tuple[str, Path]:
    return ("firered", case) if (case / "model.pth.tar").exists() else ("canary", case / "model.nemo")


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
@torch.no_grad()
def test_an_imported_folder_says_what_the_original_said(case, tmp_path):
    """From the wav files, with the search settings of the folder: texts are exact."""
    facts = json.loads((case / "case.json").read_text())
    torch.set_num_threads(1)
    convert(*source_of(case), tmp_path / "model")
    loaded = load_folder(tmp_path / "model")
    model, tokenizer, settings = loaded.model, loaded.tokenizer, loaded.generation
    search = facts.get("decoding", facts)["searches"]["beam3"]
    for i, expected in enumerate(search["utterances"]):
        samples = torch.from_numpy(decode(case / "wav" / f"utt{i}.wav", 16000))
        prompt = facts["utterances"][i]["prompt_ids"] if "utterances" in facts else [tokenizer.bos_id]
        step = TorchStep(model, model.encode(samples[None], torch.tensor([len(samples)])))
        scores, state = step.first(np.array([prompt]))
        options = BeamOptions(
            eos=tokenizer.eos_id,
            size=3,
            length_penalty=search["length_penalty"],
            length_offset=len(prompt) if settings.count_prompt else 0,
            temperature=settings.temperature,
            ended_stay=settings.ended_stay,
            rank_normalised=settings.rank_normalised,
        )
        most = math.ceil(len(samples) / 16000 * settings.max_tokens_per_second) + settings.extra_tokens
        [[best, *_]] = beam_search(step, scores, state, options, np.array([most]), [])
        assert best.tokens == expected[0]["ids"]
        assert tokenizer.decode(best.tokens) == expected[0]["text"].strip()
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
    ("damage", "message"),
    [
        ("payload", "model.pth.tar: broken, or more than weights"),
        ("cut", "model.pth.tar: broken, or more than weights"),
        ("empty", "model.pth.tar: broken, or more than weights"),
        ("no args", "not a FireRedASR checkpoint"),
        ("no weights", "model_state_dict: not a mapping of names to weights"),
        ("no name", "model_state_dict: not a mapping of names to weights"),
        ("number", "model_state_dict: not a mapping of names to weights"),
        ("no model.pth.tar", "model.pth.tar: cannot be read"),
        ("no cmvn.ark", "cmvn.ark: cannot be read"),
        ("no dict.txt", "dict.txt: cannot be read"),
        ("no train_bpe1000.model", "train_bpe1000.model: cannot be read"),
        ("bad cmvn", "is not CMVN statistics"),
        ("cut cmvn", "is not CMVN statistics"),
        ("bad dict", "dict.txt"),
        ("cut dict", "dict.txt has .* tokens, the model"),
        ("cut pieces", "not a whole SentencePiece model"),
        ("key", "1 weights of the checkpoint are not known: encoder.new_thing.weight"),
        ("shape", r"encoder.blocks.0.ff1.inner.weight: .*\[7, 7\]"),
        ("lacks", "Missing .*decoder.layers.0.attn.q.bias"),
        ("d_model", "arguments of the checkpoint: d_model 'wide' is not a whole number from 1 to"),
        ("n_head", "d_model .* is not a multiple of n_heads"),
        ("odim", "mismatch for decoder.embed.weight"),
    ],
)
def test_broken_firered_checkpoints_are_one_line(damage, message, bird, tmp_path):
    folder = tmp_path / "fr"
    shutil.copytree(FIRERED[0], folder)
    for path in folder.iterdir():
        path.chmod(0o755 if path.is_dir() else 0o644)
    checkpoint = folder / "model.pth.tar"
    whole = checkpoint.read_bytes()
    arguments, weights = firered.read_checkpoint(checkpoint)
    weights = {name: weight.clone() for name, weight in weights.items()}  # the file will change
    package = {"args": argparse.Namespace(**arguments.values), "model_state_dict": weights}
    changes = {
        "payload": lambda: checkpoint.write_bytes(pickle.dumps({"args": Payload(), "model_state_dict": {}})),
        "cut": lambda: checkpoint.write_bytes(whole[: len(whole) // 2]),
        "empty": lambda: checkpoint.write_bytes(b""),
        "no args": lambda: package.pop("args"),
        "no weights": lambda: package.update(model_state_dict=[1]),
        "number": lambda: weights.update(x=3),
        "no name": lambda: weights.update({3: torch.zeros(1)}),
        "bad cmvn": lambda: (folder / "cmvn.ark").write_bytes(b"\0BDM \4\xff\xff\xff\x7f\4\xff\xff\xff\x7f"),
        "bad dict": lambda: (folder / "dict.txt").write_text("<blank> 0\n<unk> 7\n"),
        "key": lambda: weights.update({"encoder.new_thing.weight": torch.zeros(3)}),
        "shape": lambda: weights.update({"encoder.layer_stack.0.ffn1.net.1.weight": torch.zeros(7, 7)}),
        "lacks": lambda: weights.pop("decoder.layer_stack.0.self_attn.w_qs.bias"),
        "d_model": lambda: setattr(package["args"], "d_model", "wide"),
        "n_head": lambda: setattr(package["args"], "n_head", 7),
        "odim": lambda: setattr(package["args"], "odim", package["args"].odim + 1),
    }
    files = {"cmvn": "cmvn.ark", "dict": "dict.txt", "pieces": "train_bpe1000.model"}
    if damage in changes:
        changes[damage]()
    elif damage.startswith("no "):
        (folder / damage[3:]).unlink()
    else:
        path = folder / files[damage[4:]]
        path.write_bytes(cut_at_a_line(path.read_bytes()))
    if damage in ("no args", "no weights", "no name", "number", "key", "shape", "lacks", "d_model", "n_head", "odim"):
        torch.save(package, checkpoint)
    with pytest.raises(SpeechError, match=message) as error:
        firered.read(folder)
    assert "\n" not in str(error.value) and "Traceback" not in str(error.value)


def cut_at_a_line(data: bytes) -> bytes:
    """Half of it, up to the end of a line where it has lines."""
    half = data[: len(data) // 2]
    return half[: half.rfind(b"\n") + 1] or half


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


def reshaped(data: bytes) -> bytes:
    weights = torch.load(io.BytesIO(data), weights_only=True)
    weights["encoder.layers.1.conv.depthwise_conv.weight"] = torch.zeros(3, 1, 9)
    out = io.BytesIO()
    torch.save(weights, out)
    return out.getvalue()


HOSTILE = {
    "parent": plus((member("../evil"), b"x")),
    "absolute": plus((member("/tmp/evil"), b"x")),
    "symlink": plus((member("link", tarfile.SYMTYPE, "/etc/passwd"), b"")),
    "hard link": plus((member("hard", tarfile.LNKTYPE, "model_config.yaml"), b"")),
    "fifo": plus((member("pipe", tarfile.FIFOTYPE), b"")),
    "twice": plus((member("model_config.yaml"), b"a: 1")),
    "twice by another name": plus((member("./model_config.yaml"), b"a: 1")),
    "many": plus(*((member(f"m{i}"), b"") for i in range(1100))),
    "config builds objects": changed("model_config.yaml", lambda d: b"a: !!python/object/apply:os.mkdir [x]\n"),
    "config is text": changed("model_config.yaml", lambda d: b"hello"),
    "config is bytes": changed("model_config.yaml", lambda d: b"\xff\xfe\x00"),
    "unknown value": changed("model_config.yaml", lambda d: d.replace(b"rel_pos", b"abs_pos")),
    "no heads": changed("model_config.yaml", lambda d: d.replace(b"n_heads: 4", b"n_heads: 0")),
    "heads do not divide": changed("model_config.yaml", lambda d: d.replace(b"n_heads: 4", b"n_heads: 5")),
    "beam is a text": changed("model_config.yaml", lambda d: d.replace(b"beam_size: 1", b"beam_size: wide")),
    "wrong type": changed("model_config.yaml", lambda d: d.replace(b"d_model: 64", b"d_model: wide")),
    "no such tokenizer": changed("model_config.yaml", lambda d: d.replace(b"model_path: nemo:", b"model_path: no")),
    "tokenizer path": changed("model_config.yaml", lambda d: d.replace(b"model_path: nemo:", b"model_path: ../")),
    "tokenizer cut": changed("_tokenizer.model", lambda d: d[: len(d) // 2]),
    "no tokenizer": lambda members, tmp_path: [m for m in members if not m[0].name.endswith("_tokenizer.model")],
    "weights of another shape": changed("model_weights.ckpt", lambda d: reshaped(d)),
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
    if damage is HOSTILE["weights of another shape"]:
        assert "mismatch for encoder.blocks.1.conv.depthwise.weight" in str(error.value)
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
