"""A model folder explains itself, and a faulty one says what is wrong in one line."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from speech.errors import SpeechError
from speech.folder import load_folder, save_model


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def change(path: Path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_what_was_saved_is_loaded(tiny_model: Path, tmp_path: Path):
    first = load_folder(tiny_model)
    save_model(tmp_path / "again", first.model, first.tokenizer, first.generation)
    again = load_folder(tmp_path / "again")
    assert again.generation == first.generation and again.model.config == first.model.config
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor), name
    assert not again.model.training
    files = {path.name for path in (tmp_path / "again").iterdir()}
    assert files == {
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer.model",
        "tokens.txt",
    }


@pytest.mark.parametrize(
    "name",
    ["config.json", "preprocessor_config.json", "generation_config.json", "model.safetensors", "tokenizer.model"],
)
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "junk"])
def test_a_missing_or_corrupt_file_is_named(folder: Path, name: str, damage: str):
    path = folder / name
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "junk": b"\x00\xff" * 200}[damage])
    with pytest.raises(SpeechError, match=name.replace(".", r"\.")) as caught:
        load_folder(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("config.json", {"model_type": "tts"}, "config.json: not of model_type aed in format 1"),
        ("config.json", {"format_version": 99}, "config.json: not of model_type aed in format 1"),
        ("config.json", {"flux": 1}, "flux"),
        ("config.json", {"vocab_size": 7}, "tokenizer has 64 pieces, config.json 7"),
        ("config.json", {"vocab_size": "many"}, "tokenizer has 64 pieces, config.json many"),
        ("config.json", {"encoder": 3}, "builds no model.*EncoderConfig"),
        ("config.json", {"encoder": {"n_heads": 3}}, "d_model 256 is not a multiple of n_heads 3"),
        ("config.json", {"encoder": {"n_layers": "many"}}, "builds no model"),
        ("config.json", {"decoder": {"d_ff": -1}}, "builds no model"),
        ("preprocessor_config.json", {"n_mel": 3}, "n_mel"),
        ("preprocessor_config.json", {"n_mels": 40}, "does not fit config.json"),
        ("generation_config.json", {"beams": 3}, "beams"),
    ],
)
def test_a_value_that_does_not_fit_is_named(folder: Path, name: str, values: dict, message: str):
    change(folder / name, **values)
    with pytest.raises(SpeechError, match=message) as caught:
        load_folder(folder)
    assert "\n" not in str(caught.value)


def test_weights_that_lack_a_tensor_are_refused(folder: Path):
    weights = load_file(folder / "model.safetensors")
    weights.pop("decoder.norm.weight")
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(SpeechError, match=r"does not fit config\.json.*decoder\.norm\.weight"):
        load_folder(folder)


def test_no_folder_is_named(tmp_path: Path):
    with pytest.raises(SpeechError, match="nowhere does not exist"):
        load_folder(tmp_path / "nowhere")
