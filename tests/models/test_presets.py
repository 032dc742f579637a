"""The models that come with the package have the sizes of those they are named after."""

from dataclasses import asdict

import pytest
import torch
import yaml

from speech.config import PRESETS, parse, presets
from speech.errors import SpeechError
from speech.models.aed import AED, count_parameters
from speech.nn.config import AEDConfig
from speech.training.config import AEDRecipe

# name: vocabulary, parameters (published ones rounded to millions: 140, 414, 732, 1140; 1017, 884, 182, 979)
SIZES = {
    "firered-aed-xs": (7832, 140_292_960),
    "firered-aed-s": (7832, 413_681_248),
    "firered-aed-m": (7832, 731_926_880),
    "firered-aed-l": (7832, 1_140_350_048),
    "canary-1b": (4128, 1_016_677_408),
    "canary-1b-flash": (5248, 883_554_432),
    "canary-180m-flash": (5248, 182_643_840),
    "canary-1b-v2": (16384, 978_932_736),
    "small": (64, 3_308_544),
    "base": (1024, 29_795_072),
    "large": (1024, 135_038_976),
}


def preset(name: str) -> AEDConfig:
    return AEDConfig.from_dict(yaml.safe_load((PRESETS / f"{name}.yaml").read_text())["model"])


def on_paper(name: str) -> AED:
    with torch.device("meta"):
        return AED(preset(name), SIZES[name][0])


def test_every_preset_is_listed_with_what_it_is():
    assert set(presets()) == set(SIZES) and all(len(what) > 10 for what in presets().values())


@pytest.mark.parametrize("name", SIZES)
def test_sizes(name):
    assert count_parameters(on_paper(name)) == SIZES[name][1]


@pytest.mark.parametrize("name", SIZES)
def test_a_preset_names_every_setting_of_its_parts(name):
    """A default that changes later must not change a model that people have weights for."""
    stored = yaml.safe_load((PRESETS / f"{name}.yaml").read_text())["model"]
    assert stored == asdict(preset(name))


def test_firered_tensors_are_those_of_its_checkpoint():
    # 940 keys with two position buffers and the tied matrix stored twice; ours has the global statistics instead
    assert len(on_paper("firered-aed-l").state_dict()) == 940 - 2 - 1 + 2


def test_canary_tensors_are_those_of_its_checkpoint():
    # its checkpoint: 22 + 40 per encoder layer + 26 per decoder layer + 2 for the projection between unequal widths,
    # with window, filter bank, position buffer and the tied matrix again; ours has the global statistics instead
    assert len(on_paper("canary-180m-flash").state_dict()) == 22 + 40 * 17 + 26 * 4 + 2 - 4 + 2
    # untied: the head stays
    assert len(on_paper("canary-1b-v2").state_dict()) == 22 + 40 * 32 + 26 * 8 - 3 + 2


def test_a_preset_is_a_configuration_by_name(tmp_path, monkeypatch):
    recipe = parse(AEDRecipe, ["--config", "canary-180m-flash", "--model.decoder.n_layers", "2"], "x", "y")
    assert recipe.model.encoder == preset("canary-180m-flash").encoder and recipe.model.decoder.n_layers == 2
    assert parse(AEDRecipe, ["--config=small"], "x", "y").model == preset("small")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").write_text("train: {seed: 7}\n")
    assert parse(AEDRecipe, ["--config", "small"], "x", "y").train.seed == 7, "a file of that name comes first"
    with pytest.raises(SpeechError, match="canary-9b"):
        parse(AEDRecipe, ["--config", "canary-9b"], "x", "y")


def test_an_unknown_option_is_named():
    with pytest.raises(SpeechError, match="model config: .*'n_layer'"):
        AEDConfig.from_dict({"encoder": {"n_layer": 3}})
    with pytest.raises(SpeechError, match="model config: .*'cct'"):
        AEDConfig.from_dict({"cct": True})
