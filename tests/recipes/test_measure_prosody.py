import numpy as np
import pytest
from lhotse import MonoCut
from tiny_cuts import cut_of

from recipes.measure_prosody import ProsodyRecipe, measure, normalized
from speech.data.arrays import Arrays, save_arrays
from speech.data.manifests import save_manifest
from speech.errors import DataError, SpeechError
from speech.nn.mel_config import MelConfig
from speech.nn.tts_config import FastSpeechConfig
from speech.training.voice_config import VoiceDataConfig

RATE, HOP, FRAMES = 16000, 200, 20  # of each phoneme
MEL = MelConfig(sample_rate=RATE, n_fft=1024, win=800, hop=HOP)


def said_by(folder, name: str, speaker: str, sounds: list[tuple[float, float]]) -> MonoCut:
    """A phoneme for each (Hz, level), 0 Hz is silence."""
    t = np.arange(FRAMES * HOP) / RATE
    x = [level * sum(np.sin(2 * np.pi * k * hz * t) / k for k in (1, 2, 3)) for hz, level in sounds]
    return cut_of(folder, name, np.concatenate(x), RATE, "a", speaker=speaker)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> ProsodyRecipe:
    """A low and a high speaker, each with two tones an octave apart around silence, and an utterance of dev."""
    folder = tmp_path_factory.mktemp("tones")
    low, high = ([(hz, 0.1), (0.0, 0.0), (2 * hz, 0.2)] for hz in (100, 200))
    train = [said_by(folder, "low", "a", low), said_by(folder, "high", "b", high)]
    save_manifest(train, folder / "train.jsonl")
    save_manifest([said_by(folder, "dev", "a", [(200, 0.1), (0.0, 0.0)])], folder / "dev.jsonl")
    said = [FRAMES, 5, FRAMES - 10, 5, FRAMES]  # the windows reach 4 frames into the silence
    durations = {"low": said, "high": said, "dev": [FRAMES, 5, FRAMES - 5]}
    save_arrays(folder / "durations.npz", [(name, np.array(frames)) for name, frames in durations.items()])
    data = VoiceDataConfig(str(folder / "train.jsonl"), str(folder / "dev.jsonl"))
    return ProsodyRecipe(
        model=FastSpeechConfig(MEL), data=data, durations=str(folder / "durations.npz"), out=str(folder), workers=1
    )


def test_phonemes_have_the_pitch_and_energy_of_their_speaker(recipe):
    measure(recipe)
    pitch, energy = (Arrays(f"{recipe.out}/{name}.npz") for name in ("pitch", "energy"))
    assert pitch["low"].dtype == np.float32 and pitch.scale == pytest.approx(np.log(2) / 2, abs=0.01)
    for name in ("low", "high"):  # an octave around the mean of its speaker; silence has no pitch
        assert pitch[name][::4] == pytest.approx([-1, 1], abs=0.05) and pitch[name][2] == 0
        assert energy[name] == pytest.approx(energy["low"], abs=0.1)
    assert pitch["dev"][0] == pytest.approx(1, abs=0.05) and pitch["dev"][2] == 0
    assert (energy["low"][4] - energy["low"][0]) * energy.scale == pytest.approx(np.log(4), abs=0.1)
    assert energy["dev"][0] == pytest.approx(energy["low"][0], abs=0.1)


def test_a_voiced_phoneme_is_never_zero_and_statistics_are_those_of_training():
    values = {"a": np.array([5.0, np.nan]), "b": np.array([4.0, 6.0]), "dev": np.array([9.0])}
    found, scale = normalized(values, {"a": "x", "b": "x", "dev": "stranger"}, {"a", "b"})
    assert scale == pytest.approx(np.std([5, 4, 6]))
    assert 0 < found["a"][0] < 1e-5 and found["a"][1] == 0
    assert found["b"] == pytest.approx(np.array([-1, 1]) / scale)
    assert found["dev"] == pytest.approx([4 / scale])  # a stranger has the mean of all
    with pytest.raises(DataError, match="^no phoneme of the training set is voiced"):
        normalized({"a": np.array([np.nan])}, {"a": "x"}, {"a"})


def test_durations_of_another_audio_are_named(recipe, tmp_path):
    save_arrays(tmp_path / "d.npz", [("low", np.array([FRAMES]))])
    short = ProsodyRecipe(
        model=recipe.model, data=recipe.data, durations=str(tmp_path / "d.npz"), out=str(tmp_path), workers=1
    )
    with pytest.raises(DataError, match="^durations of low do not fit: let the aligner write them anew$"):
        measure(short)
    with pytest.raises(SpeechError, match="^durations is empty: give --durations PATH$"):
        measure(ProsodyRecipe(data=recipe.data))
