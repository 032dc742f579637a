from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_run import RATE, WORDS, last_weights, log_rows, seen_in, short_run

from recipes.train_transformer_tts import train
from speech.data.arrays import save_arrays
from speech.data.manifests import open_manifest
from speech.errors import DataError, SpeechError
from speech.nn.mel_config import MelConfig
from speech.nn.transformer_tts_config import TransformerTTSConfig, TransformerTTSLossConfig
from speech.text.phoneme_table import PhonemeTable
from speech.text.phoneme_tokenizer import PhonemeTokenizer
from speech.text.phonemes import load_phonemizer
from speech.training.config import OptimConfig, TrainConfig
from speech.training.transformer_tts_task import TransformerTTSTask
from speech.training.voice_config import TransformerTTSRecipe, VoiceDataConfig
from speech.voice_folder import load_voice
from speech.voice_parts import VoiceParts, save_parts

HOP = 64


@pytest.fixture(scope="session")
def voice(corpus) -> Path:
    """The tones as phonemes, and how long each is: start and end take no time."""
    folder = corpus / "voice"
    folder.mkdir()
    tokenizer = PhonemeTokenizer(PhonemeTable.build([WORDS]), "en")
    save_parts(folder, VoiceParts(tokenizer, [load_phonemizer({"kind": "phonemes", "language": "en"})]))
    cuts = [cut for split in ("train", "dev") for cut in open_manifest(corpus / f"{split}.jsonl")]
    save_arrays(corpus / "durations.npz", ((cut.id, tones(len(cut.supervisions[0].text.split()))) for cut in cuts))
    return corpus


def tones(count: int) -> np.ndarray:
    edges = np.arange(count + 1) * (RATE // 10) // HOP
    return np.array([0, *np.diff(edges), 0])


def make_recipe(
    voice: Path, out: Path, durations: bool = True, loss: dict | None = None, **run
) -> TransformerTTSRecipe:
    """6 steps, every loss in the log, a checkpoint every second step, reduction 2."""
    mel = MelConfig(sample_rate=RATE, n_fft=256, win=256, hop=HOP, n_mels=20, high_hz=0.0)
    sizes = dict(d_model=16, n_heads=2, encoder_layers=1, decoder_layers=2, d_ff=32, encoder_convs=1)
    return TransformerTTSRecipe(
        model=TransformerTTSConfig(mel, **sizes, prenet_width=8, postnet_layers=2, postnet_channels=8, reduction=2),
        data=VoiceDataConfig(
            train=str(voice / "train.jsonl"),
            dev=str(voice / "dev.jsonl"),
            tokenizer=str(voice / "voice"),
            batch_seconds=4.0,
            quadratic_seconds=0.0,
        ),
        optim=OptimConfig(lr=3e-3, warmup_steps=2),
        loss=TransformerTTSLossConfig(guided_focus=(0.0, 1.0), **(loss or {})),
        train=short_run(TrainConfig, out, 6, **run),
        durations=str(voice / "durations.npz") if durations else "",
    )


@pytest.fixture(scope="module")
def whole(voice, tmp_path_factory) -> tuple[list, Path]:
    out = tmp_path_factory.mktemp("whole")
    return seen_in(train, make_recipe(voice, out), TransformerTTSTask), out


def test_a_resumed_run_is_the_run_that_would_have_been(voice, whole, tmp_path):
    batches, reference = whole
    recipe = make_recipe(voice, tmp_path)
    assert seen_in(train, recipe, TransformerTTSTask, 5)[:4] + seen_in(train, recipe, TransformerTTSTask) == batches
    assert last_weights(tmp_path) == last_weights(reference)  # with the running focus
    assert log_rows(tmp_path) == log_rows(reference)


def test_the_loss_is_its_parts_with_the_weight_that_the_focus_leaves(voice, tmp_path):
    focus, original = [], TransformerTTSTask.training_step

    def training_step(task, batch, batch_idx):
        focus.append(float(task.focus))
        return original(task, batch, batch_idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransformerTTSTask, "training_step", training_step)
        train(make_recipe(voice, tmp_path, loss=dict(guided_weight=9.0, supervised_weight=2.0)))
    told = [row for row in log_rows(tmp_path) if "loss" in row]
    assert len(told) == 6 and 0 == focus[0] < focus[1] < focus[5] < 1
    for row, f in zip(told, focus, strict=True):
        wanted = row["before"] + row["after"] + row["stop"] + 9 * (1 - f) * row["guided"] + 2 * row["supervised"]
        assert row["loss"] == pytest.approx(wanted, rel=1e-5)


def test_the_folder_is_a_voice_and_the_log_tells_of_attention(voice, whole):
    out = whole[1]
    made = load_voice(out / "voice")
    assert "Mean of the checkpoints of steps 2, 4, 6." in (out / "voice/README.md").read_text()
    cuts = list(open_manifest(voice / "train.jsonl"))
    frames = sum(cut.duration for cut in cuts) * RATE / HOP
    phonemes = sum(len(cut.supervisions[0].text.split()) + 2 for cut in cuts)
    assert float(made.model.frames_per_phoneme) == pytest.approx(frames / phonemes)
    assert made.model.mel_std.min() > 0.01 and made.model.mel_mean.abs().max() > 1
    measured = [row for row in log_rows(out) if "loss" not in row]
    assert [row["step"] for row in measured] == [3, 6]
    names = ("before", "after", "stop", "guided", "supervised", "focus", "agreement", "agreement_supervised")
    assert measured[0].keys() == {"step", *(f"dev_{name}" for name in names)}
    assert all(0 < row["dev_agreement_supervised"] <= row["dev_agreement"] <= 1 for row in measured)
    assert all((out / name).stat().st_size > 1000 for name in ("alignment.png", "curves.png"))


def test_durations_can_measure_without_teaching(voice, tmp_path):
    train(make_recipe(voice, tmp_path / "measured", loss=dict(supervised_weight=0.0)))
    train(make_recipe(voice, tmp_path / "alone", durations=False))
    assert last_weights(tmp_path / "measured") == last_weights(tmp_path / "alone")
    measured, alone = (log_rows(tmp_path / name) for name in ("measured", "alone"))
    assert measured[-1].keys() - alone[-1].keys() == {"dev_agreement"} and "supervised" not in measured[0]


@pytest.mark.parametrize("name", ["focus", "agreement"])
def test_a_run_without_a_diagonal_stops_after_its_picture(voice, tmp_path, name):
    recipe = replace(make_recipe(voice, tmp_path), diagonal_after_steps=4, **{f"diagonal_{name}": 1.0})
    recipe = replace(recipe, **{f"diagonal_{other}": 0.0 for other in {"focus", "agreement"} - {name}})
    told = rf"^no diagonal at step 6: the best head's {name} on dev is 0\.\d+, below diagonal_{name} 1; see alignment"
    with pytest.raises(SpeechError, match=rf"{told}.*raise diagonal_after_steps 4 to go on$"):
        train(recipe)
    assert [row["step"] for row in log_rows(tmp_path)] == [1, 2, 3, 3, 4, 5, 6, 6]
    assert (tmp_path / "alignment.png").exists()


def test_settings_of_the_stop_are_not_those_of_the_run(voice, tmp_path):
    recipe = make_recipe(voice, tmp_path)
    assert recipe.describe() == replace(recipe, diagonal_after_steps=1, diagonal_focus=0.9).describe()
    assert recipe.describe() != make_recipe(voice, tmp_path, durations=False).describe()


def test_durations_of_another_corpus_are_refused(voice, tmp_path):
    cuts = open_manifest(voice / "train.jsonl")
    save_arrays(tmp_path / "other.npz", ((cut.id, np.ones(3, dtype=np.int64)) for cut in cuts))
    recipe = replace(make_recipe(voice, tmp_path / "out"), durations=str(tmp_path / "other.npz"))
    with pytest.raises(DataError, match="^durations of train-.* do not fit: let the aligner write them anew$"):
        train(recipe)
