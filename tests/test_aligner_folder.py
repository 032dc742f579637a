"""A faulty aligner folder says what is wrong in one line."""

import io
import json
from pathlib import Path

import pytest
import sentencepiece
from safetensors.torch import load_file

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


@pytest.mark.parametrize("damage", ["missing", "empty", "cut"])
def test_a_missing_or_corrupt_vocabulary_is_named(folder, damage):
    path = folder / "tokenizer.model"
    whole = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(b"" if damage == "empty" else whole[: len(whole) // 2])
    with pytest.raises(SpeechError, match=r"tokenizer\.model") as error:
        load_aligner(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "aed"}, "config.json: not of model_type ctc in format 1"),
        ({"vocab_size": 7}, "pieces, config.json 7"),
        ({"flux": 1}, "config.json builds no model: .*flux"),
        ({"encoder": 3}, "config.json builds no model"),
    ],
)
def test_a_value_that_does_not_fit_is_named(folder, values, message):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    with pytest.raises(SpeechError, match=message) as error:
        load_aligner(folder)
    assert "\n" not in str(error.value)


def test_an_aligner_is_no_recogniser(folder):
    with pytest.raises(SpeechError, match="config.json: not of model_type aed in format 1"):
        load_folder(folder)
