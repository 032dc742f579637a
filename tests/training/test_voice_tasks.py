from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lhotse.cut import MonoCut
from tiny_run import RATE, WORDS, last_weights, log_rows, seen_in, short_run, sine_cut
from torch.nn.utils.rnn import pad_sequence

from recipes import train_aligner, train_fastspeech
from speech.data.arrays import Arrays, save_arrays
from speech.data.asr import ASRBatch
from speech.data.manifests import save_manifest
from speech.errors import DataError, SpeechError
from speech.models.aligner import Aligner, forward_sum_loss
from speech.models.fastspeech import FastSpeech
from speech.models.voice_sound import VoiceSound
from speech.nn.mel_config import MelConfig
from speech.nn.tts_config import AlignerConfig, FastSpeechConfig
from speech.text.phoneme_table import PhonemeTable
from speech.text.phoneme_tokenizer import PhonemeTokenizer
from speech.text.phonemes import load_phonemizer
from speech.training.aligner_task import AlignerTask
from speech.training.config import OptimConfig, TrainConfig
from speech.training.fastspeech_task import FastSpeechTask
from speech.training.voice_config import AlignerRecipe, FastSpeechRecipe, VoiceDataConfig
from speech.training.voice_data import open_voice
from speech.voice_folder import load_voice
from speech.voice_parts import VoiceParts, save_parts

MEL = MelConfig(sample_rate=RATE, n_fft=256, win=256, hop=64, n_mels=20, high_hz=0.0)
DATA = VoiceDataConfig(batch_seconds=3.0, quadratic_seconds=0.0)


@pytest.fixture(scope="module")
def voice(tmp_path_factory) -> Path:
    """Sine words as phonemes, said by two speakers in two languages."""
    folder = tmp_path_factory.mktemp("voice")
    rng = np.random.default_rng(0)
    for split, count in (("train", 16), ("dev", 4)):
        cuts = []
        for i in range(count):
            cut = sine_cut(folder, f"{split}-{i}", list(rng.choice(list(WORDS), size=int(rng.integers(2, 7)))))
            assert isinstance(cut, MonoCut)
            cut.supervisions[0].speaker, cut.supervisions[0].language = ("ann", "en") if i % 2 else ("bob", "de")
            cuts.append(cut)
        save_manifest(cuts, folder / f"{split}.jsonl")
    table = PhonemeTable.build([list(WORDS)])
    readers = [load_phonemizer({"kind": "phonemes", "language": language}) for language in ("de", "en")]
    (folder / "parts").mkdir()
    save_parts(folder / "parts", VoiceParts(PhonemeTokenizer(table, "de"), readers, ["ann", "bob"]))
    return folder


def settings(voice: Path, out: Path, **train) -> dict[str, Any]:
    data = replace(DATA, train=str(voice / "train.jsonl"), dev=str(voice / "dev.jsonl"), tokenizer=str(voice / "parts"))
    return {
        "data": data,
        "optim": OptimConfig(lr=3e-3, warmup_steps=2),
        "train": short_run(TrainConfig, out, 6, **train),
    }


def aligner_recipe(voice: Path, out: Path, **train) -> AlignerRecipe:
    model = AlignerConfig(d_embed=16, text_filters=16, mel_filters=16, d_attention=16)
    return AlignerRecipe(mel=MEL, model=model, hard_share=0.5, **settings(voice, out, **train))


def model_config(**more) -> FastSpeechConfig:
    small: dict[str, Any] = dict(d_model=16, encoder_layers=1, decoder_layers=1, d_ff=16, predictor_filters=8)
    return FastSpeechConfig(MEL, **small, **more)


def fastspeech_recipe(voice: Path, aligned: Path, out: Path, **train) -> FastSpeechRecipe:
    files: dict[str, Any] = {name: str(aligned / f"{name}.npz") for name in ("durations", "pitch", "energy")}
    model = model_config(pitch=True, energy=True)
    return FastSpeechRecipe(model=model, **settings(voice, out, **train), **files)


def run(recipe, crash_at: int | None = None) -> list:
    if isinstance(recipe, AlignerRecipe):
        return seen_in(train_aligner.train, recipe, AlignerTask, crash_at)
    return seen_in(train_fastspeech.train, recipe, FastSpeechTask, crash_at)


@pytest.fixture(scope="module")
def aligned(voice, tmp_path_factory) -> tuple[list, Path]:
    """A whole run of the aligner, with any pitch and energy beside its durations: batches seen, folder."""
    out = tmp_path_factory.mktemp("aligner")
    seen = run(aligner_recipe(voice, out))
    rng = np.random.default_rng(0)
    for name, scale in (("pitch", 0.2), ("energy", 2.0)):
        durations = Arrays(out / "durations.npz").items()
        values = ((i, rng.integers(-1, 2, len(found)).astype(np.float32)) for i, found in durations)
        save_arrays(out / f"{name}.npz", values, scale)
    return seen, out


@pytest.fixture(scope="module")
def spoken(voice, aligned, tmp_path_factory) -> tuple[list, Path]:
    out = tmp_path_factory.mktemp("fastspeech")
    return run(fastspeech_recipe(voice, aligned[1], out)), out


def test_resumed_runs_are_the_runs_that_would_have_been(voice, aligned, spoken, tmp_path):
    recipes = aligner_recipe(voice, tmp_path / "a"), fastspeech_recipe(voice, aligned[1], tmp_path / "f")
    for recipe, (seen, reference) in zip(recipes, (aligned, spoken), strict=True):
        assert run(recipe, 5)[:4] + run(recipe) == seen
        out = Path(recipe.train.out)
        assert last_weights(out) == last_weights(reference) and log_rows(out) == log_rows(reference)


def test_logs_add_up_and_tell_of_dev_what_matters(aligned, spoken):
    for row in log_rows(aligned[1]):
        if "loss" in row:
            assert row["loss"] == pytest.approx(row["forward_sum"] + row["binarisation"], rel=1e-5)
            assert (row["binarisation"] > 0) == (row["step"] > 3)
        else:
            assert all(0 <= row[f"dev_{name}"] <= 1 for name in ("focus_rate", "agreement", "path_equality"))
    weights = {"mel": 1, "duration": 0.5, "pitch": 0.1, "voicing": 0.1, "energy": 0.1}
    for row in log_rows(spoken[1]):
        if "loss" in row:
            assert row["loss"] == pytest.approx(sum(w * row[name] for name, w in weights.items()), rel=1e-5)
    told = {"step", "dev_duration_ms", "dev_length_ratio", *(f"dev_{name}" for name in weights)}
    dev = [row for row in log_rows(spoken[1]) if "loss" not in row]
    assert len(dev) == 2 and dev[0].keys() == told and dev[1]["dev_mel"] < dev[0]["dev_mel"]
    assert (aligned[1] / "alignment.png").stat().st_size > 10_000


def test_a_straight_line_agrees_with_the_prior_alone(voice, aligned):
    """At the start scores are equal: the prior is the path, and focus and equality tell that nothing is learned."""
    first = next(row for row in log_rows(aligned[1]) if "loss" not in row)
    assert first["dev_agreement"] > 0.9 and first["dev_focus_rate"] < 0.7 and first["dev_path_equality"] < 0.9


def test_the_voice_knows_its_speakers_languages_and_scales(voice, aligned, spoken):
    found = load_voice(spoken[1] / "voice")
    model = found.model
    assert isinstance(model, FastSpeech)
    assert (model.config.n_speakers, model.config.n_languages) == (2, 2) and found.parts.speakers == ["ann", "bob"]
    assert (float(model.pitch_std), float(model.energy_std)) == pytest.approx((0.2, 2.0))
    assert float(model.duration_gain) != 1
    recipe = fastspeech_recipe(voice, aligned[1], spoken[1])
    identities = open_voice(recipe, MEL).identities()
    assert len(identities) == 20 and identities["train-0"] == (1, 0) and identities["dev-1"] == (0, 1)


SIZES = {"a": (25, 4), "b": (19, 3)}  # frames, tokens


def batch_of(names: list[str]) -> ASRBatch:
    """Noise and tokens, padded to the longest."""
    made = torch.Generator().manual_seed(0)
    waves = {name: torch.randn(frames * MEL.hop, generator=made) for name, (frames, _) in SIZES.items()}
    tokens = {name: torch.tensor([1, 4, 5, 2])[-n:] for name, (_, n) in SIZES.items()}
    return ASRBatch(
        waveforms=pad_sequence([waves[name] for name in names], batch_first=True),
        waveform_lengths=torch.tensor([len(waves[name]) for name in names]),
        tokens=pad_sequence([tokens[name] for name in names], batch_first=True),
        token_lengths=torch.tensor([len(tokens[name]) for name in names]),
        prompt_lengths=torch.ones(len(names)).long(),
        ids=names,
        passes=[0] * len(names),
        lost=[],
        place=(0, 0, 0),
    )


def make_task(arrays: dict, identities: dict | None = None, **recipe) -> FastSpeechTask:
    torch.manual_seed(0)
    config = model_config(pitch=True, energy=True, n_speakers=2)
    filled = {
        "durations": {"a": np.array([5, 10, 5, 5]), "b": np.array([1, 16, 2])},
        "pitch": {"a": np.array([0, 1, 0, -1], np.float32), "b": np.array([0, 0.5, 0], np.float32)},
        "energy": {"a": np.array([-1, 1, 0.5, -1], np.float32), "b": np.array([0.1, 0.5, 0], np.float32)},
    }
    task = FastSpeechTask(
        FastSpeech(config, 9), VoiceSound(MEL), filled | arrays, identities or {}, FastSpeechRecipe(config, **recipe)
    )
    return task.eval()


def test_losses_of_a_padded_batch_are_the_sums_of_its_utterances():
    task = make_task({}, {"a": (0, 0), "b": (1, 0)})
    aligner = AlignerTask(Aligner(AlignerConfig(), 9, MEL.n_mels), VoiceSound(MEL), [], AlignerRecipe())

    def parts(names: list[str]) -> list:
        batch = batch_of(names)
        scores, frames = aligner.scores(batch)
        return [*task.losses(batch), forward_sum_loss(scores, frames, batch.token_lengths)]

    for both, first, second in zip(*map(parts, (["a", "b"], ["a"], ["b"])), strict=True):
        torch.testing.assert_close(both.total, first.total + second.total)
        assert both.weight == first.weight + second.weight
    other = make_task({}, {"a": (1, 0)}).losses(batch_of(["a"]))
    assert not torch.equal(other.mel.total, parts(["a"])[0].total)  # another speaker


def test_mels_of_a_teacher_stand_in_the_place_of_the_recordings():
    sound = VoiceSound(MEL)
    batch = batch_of(["a", "b"])
    heard = sound.log_mel(batch.waveforms, batch.waveform_lengths).numpy()
    mels = {"a": heard[0], "b": heard[1, :19]}
    task, plain = make_task({"mels": mels}), make_task({}).losses(batch)
    torch.testing.assert_close(task.losses(batch), plain)
    task.model.mel_mean.fill_(0.5)  # they are natural logarithms, which the model normalises
    louder = make_task({"mels": {name: mel + 0.5 for name, mel in mels.items()}})
    louder.model.mel_mean.fill_(0.5)
    torch.testing.assert_close(louder.losses(batch), plain)
    assert not torch.equal(task.losses(batch).mel.total, plain.mel.total)
    task = make_task({"mels": mels | {"a": heard[0, :9]}})
    with pytest.raises(DataError, match="^durations of a, b do not fit"):
        task.losses(batch)


def test_what_does_not_fit_or_is_missing_is_named(voice, tmp_path):
    with pytest.raises(DataError, match="^pitch of a does not fit: let measure_prosody write it anew$"):
        make_task({"pitch": {"a": np.array([1], np.float32)}}).losses(batch_of(["a"]))
    recipe = FastSpeechRecipe(model=model_config(pitch=True), **settings(voice, tmp_path))
    with pytest.raises(SpeechError, match="^durations is empty: give --durations PATH, which recipes.train_aligner"):
        train_fastspeech.train(recipe)
    save_arrays(tmp_path / "d.npz", [("a", np.zeros(1))])
    recipe.durations = str(tmp_path / "d.npz")
    with pytest.raises(SpeechError, match="^pitch is empty and model.pitch is true: give --pitch PATH, which recipes"):
        train_fastspeech.train(recipe)
