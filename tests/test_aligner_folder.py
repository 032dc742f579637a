"""A faulty aligner folder says what is wrong in one line."""

import io
import json
from pathlib import Path

import pytest
import sentencepiece
from safetensors.torch import load_file, save_file

from speech.aligner_folder import Aligner, load_aligner, save_aligner
from speech.errors import SpeechError
from speech.folder import load_folder
from speech.models.ctc import CTCConfig, CTCModel
from speech.nn.config import EncoderConfig, FrontendConfig


@pytest.fixture
def folder(tmp_path) -> Path:
    spe = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["hello my friend"]), model_writer=spe, vocab_size=20, model_type="char", minloglevel=3
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=spe.getvalue())
    config = CTCConfig(FrontendConfig(n_mels=16), EncoderConfig(8, 1, 2, 16, "dw8", 4))
    save_aligner(tmp_path / "aligner", Aligner(CTCModel(config, processor.get_piece_size()), processor))
    return tmp_path / "aligner"


def test_what_was_saved_is_loaded(folder):
    found = load_aligner(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "tokenizer.model",
    ]
    stored = load_file(folder / "model.safetensors")
    assert all((stored[name] == tensor).all() for name, tensor in found.model.state_dict().items())
    assert not found.model.training and found.model.config.encoder.subsampling == "dw8"


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors", "tokenizer.model"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut"])
def test_a_missing_or_corrupt_file_is_named(folder, name, damage):
    whole = (folder / name).read_bytes()
    if damage == "missing":
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(b"" if damage == "empty" else whole[: len(whole) // 2])
    with pytest.raises(SpeechError, match=name.replace(".", r"\.")) as error:
        load_aligner(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("config.json", {"model_type": "aed"}, "config.json is not of model_type ctc in format 1"),
        ("config.json", {"vocab_size": 7}, "pieces, config.json 7"),
        ("config.json", {"flux": 1}, "config.json builds no model: model config: .*flux"),
        ("config.json", {"encoder": 3}, "config.json builds no model"),
        ("config.json", {"encoder": {"n_heads": 3}}, "is not a multiple of n_heads 3"),
        ("preprocessor_config.json", {"n_mels": 24}, "model.safetensors does not fit config.json"),
    ],
)
def test_a_value_that_does_not_fit_is_named(folder, name, values, message):
    (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | values))
    with pytest.raises(SpeechError, match=message) as error:
        load_aligner(folder)
    assert "\n" not in str(error.value)


def test_weights_that_lack_a_tensor_are_refused(folder):
    weights = load_file(folder / "model.safetensors")
    weights.pop("head.bias")
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(SpeechError, match=r"does not fit config\.json.*head\.bias"):
        load_aligner(folder)


def test_an_aligner_is_no_recogniser(folder):
    with pytest.raises(SpeechError, match="config.json is not of model_type aed in format 1"):
        load_folder(folder)
