import dataclasses
import json

import pytest
import torch
from tiny_voice import PLAIN, fastspeech, parts, saved, transformer_tts

from speech.errors import SpeechError
from speech.nn.transformer_tts_config import GenerateOptions
from speech.voice_folder import load_voice, save_voice

FILES = {"config.json", "preprocessor_config.json", "model.safetensors", "README.md", "tokens.txt", "tokenizer.json"}


def voices():
    return {
        "plain": (fastspeech(PLAIN), parts((), ("de",))),
        "full": (fastspeech(), parts()),
        "frame by frame": (transformer_tts(n_speakers=2), parts()),
    }


@pytest.mark.parametrize("name", list(voices()))
def test_a_folder_is_the_voice(name, tmp_path):
    model, told = voices()[name]
    model.mel_mean.normal_()
    if name == "frame by frame":
        model.frames_per_phoneme.fill_(6.5)
    folder = saved(tmp_path / "voice", model, told)
    extra = {"plain": set(), "full": {"speakers.json"}, "frame by frame": {"speakers.json", "generation_config.json"}}
    assert {path.name for path in folder.iterdir()} == FILES | {"phonemizer.json", "vocoder"} | extra[name]
    found = load_voice(folder)
    assert type(found.model) is type(model) and found.model.config == model.config and not found.model.training
    weights = model.state_dict()
    assert found.model.state_dict().keys() == weights.keys()
    assert all(torch.equal(x, weights[name]) for name, x in found.model.state_dict().items())
    assert found.parts.speakers == told.speakers and found.parts.languages == told.languages
    assert found.vocoder is not None and found.vocoder.config.mel == model.config.mel
    assert found.generation == GenerateOptions()
    card = (folder / "README.md").read_text()
    assert f"# {type(model).__name__} voice" in card and "8000 Hz, languages: de" in card and "A note." in card
    assert ("speakers: Anna, Bo" in card) == bool(told.speakers)


@pytest.mark.parametrize(
    ("model", "told", "message"),
    [
        (fastspeech, parts(()), "model.n_speakers is 2, but the voice names 1"),
        (fastspeech, parts(("a", "b", "c")), "model.n_speakers is 2, but the voice names 3"),
        (fastspeech, parts(languages=("de",)), "model.n_languages is 2, but the voice names 1"),
        (lambda: fastspeech(PLAIN), parts(()), "model.n_languages is 1, but the voice names 2"),
        (transformer_tts, parts(), "model.n_speakers is 1, but the voice names 2"),
    ],
)
def test_embeddings_that_do_not_fit_the_names_are_not_saved(model, told, message, tmp_path):
    with pytest.raises(SpeechError, match=message):
        save_voice(tmp_path / "voice", model(), told)
    assert not (tmp_path / "voice").exists()


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("config.json", {"model_type": "vocos"}, "model_type in config.json is not one of fastspeech, transformer_tts"),
        ("config.json", {"model_type": ["fastspeech"]}, "model_type in config.json is not one of"),
        ("config.json", {"format_version": 9}, "not of model_type fastspeech in format 1"),
        ("config.json", {"vocab_size": 7}, "pieces, config.json 7"),
        ("config.json", {"n_speakers": 3}, "model.safetensors does not fit config.json"),
        ("config.json", {"d_modle": 3}, "config.json builds no model: .*d_modle"),
        ("speakers.json", ["Anna"], "model.n_speakers is 2, but the voice names 1"),
        ("speakers.json", 3, "speakers.json: not a list of names"),
        ("phonemizer.json", {"kind": "lexicon", "language": "de"}, "model.n_languages is 2, but the voice names 1"),
        ("vocoder/preprocessor_config.json", {"hop": 32, "n_fft": 256}, "the mel of its vocoder is .*hop=32"),
    ],
)
def test_a_folder_that_does_not_fit_is_one_line(name, values, message, tmp_path):
    path = saved(tmp_path / "voice", fastspeech(), parts()) / name
    stored = json.loads(path.read_text())
    whole = isinstance(stored, dict) and "kind" not in values
    path.write_text(json.dumps({**stored, **values} if whole else values))
    with pytest.raises(SpeechError, match=message) as caught:
        load_voice(tmp_path / "voice")
    assert str(tmp_path / "voice") in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "tokens.txt", "phonemizer.json"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut"])
def test_a_missing_or_corrupt_file_is_named(name, damage, tmp_path):
    path = saved(tmp_path / "voice", fastspeech(), parts()) / name
    whole = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(b"" if damage == "empty" else whole[: len(whole) // 2])
    with pytest.raises(SpeechError, match=name):
        load_voice(tmp_path / "voice")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SpeechError, match="nowhere"):
        load_voice(tmp_path / "nowhere")


def test_the_settings_of_generation_are_those_of_the_folder(tmp_path):
    path = saved(tmp_path / "voice", transformer_tts(), parts((), ("de",))) / "generation_config.json"
    stored = json.loads(path.read_text())
    path.write_text(json.dumps({**stored, "max_times_expected": 3.5, "window_heads": [[-1, 0]], "seed": None}))
    assert load_voice(path.parent).generation == dataclasses.replace(
        GenerateOptions(), max_times_expected=3.5, window_heads=((-1, 0),), seed=None
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_times": 2}, "max_times"),
        ({"max_times_expected": "2"}, "max_times_expected '2' is no number"),
        ({"max_times_expected": 1e9}, r"max_times_expected 1e\+09 is not above 0 and at most 200"),
        ({"max_times_expected": float("nan")}, "max_times_expected nan is not"),
        ({"stop_threshold": None}, "stop_threshold 'None' is no number"),
        ({"seed": 1.5}, "seed '1.5' is no number"),
        ({"window_heads": [[1]]}, "generation_config.json: not enough values"),
        ({"window_heads": 3}, "generation_config.json: .*int"),
    ],
)
def test_settings_of_generation_are_not_trusted(values, message, tmp_path):
    path = saved(tmp_path / "voice", transformer_tts(), parts((), ("de",))) / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    with pytest.raises(SpeechError, match=message) as caught:
        load_voice(tmp_path / "voice")
    assert str(path.parent) in str(caught.value) and "\n" not in str(caught.value)


def test_no_hours_are_asked_for(tmp_path):
    model = transformer_tts()
    model.frames_per_phoneme.fill_(1e9)
    with pytest.raises(SpeechError, match="frames_per_phoneme .* is not above 0 and at most 200"):
        load_voice(saved(tmp_path / "voice", model, parts((), ("de",))))
