import json

import pytest
import torch

from speech.errors import SpeechError
from speech.models.vocos import Vocos
from speech.nn.mel_config import MelConfig, VocosConfig
from speech.vocoder_folder import load_vocoder, save_vocoder

MEL = MelConfig(sample_rate=8000, n_fft=256, win=200, hop=64, n_mels=20, high_hz=3800.0)


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    model = Vocos(VocosConfig(MEL, d_model=16, n_layers=2, d_ff=32, kernel=5)).eval()
    save_vocoder(tmp_path / "vocoder", model, "A note.")
    return tmp_path / "vocoder", model


@torch.no_grad()
def test_a_folder_is_the_vocoder(saved):
    folder, model = saved
    assert {path.name for path in folder.iterdir()} == {
        *("config.json", "preprocessor_config.json", "model.safetensors", "README.md")
    }
    loaded, mels = load_vocoder(folder), torch.randn(2, 7, 20) - 5
    assert loaded.config == model.config and not loaded.training
    assert torch.equal(loaded(mels), model(mels))
    assert json.loads((folder / "config.json").read_text())["model_type"] == "vocos"
    assert json.loads((folder / "preprocessor_config.json").read_text())["hop"] == 64
    assert "20 log-mel bins of 0 ... 3800 Hz" in (folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("config.json", {"model_type": "aed"}, "config.json: not of model_type vocos in format 1"),
        ("config.json", {"heads": 4}, "config.json builds no model: .*'heads'"),
        ("preprocessor_config.json", {"hop": 0}, "config.json builds no model: mel: hop 0"),
    ],
)
def test_a_folder_that_is_not_ours_is_one_line(saved, name, values, said):
    folder, _ = saved
    (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | values))
    with pytest.raises(SpeechError, match=f"^{folder}/{said}") as error:
        load_vocoder(folder)
    assert "\n" not in str(error.value)
