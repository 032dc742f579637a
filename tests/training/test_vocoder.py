import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.fabric.utilities import move_data_to_device
from safetensors.torch import load_file
from tiny_run import RATE, last_weights, log_rows, seen_in, short_run

from recipes.train_vocoder import train
from speech.data.arrays import Arrays, save_arrays
from speech.data.asr import ASRStream
from speech.data.config import DataConfig
from speech.data.corpus import read_corpus
from speech.data.crops import CropBatch, CropStream
from speech.data.manifests import load_audio, open_manifest
from speech.data.sources import fingerprint
from speech.errors import DataError, SpeechError
from speech.models.vocos import Vocos
from speech.models.voice_sound import VoiceSound
from speech.nn.mel import LogMel
from speech.nn.mel_config import MelConfig, VocosConfig
from speech.text.load import load_tokenizer
from speech.training.config import OptimConfig, TrainConfig
from speech.training.means import MeanGradient
from speech.training.vocoder_config import CropConfig, GANConfig, VocoderRecipe, describe_vocoder
from speech.training.vocoder_task import VocoderTask
from speech.vocoder_folder import load_vocoder

MEL = MelConfig(sample_rate=RATE, n_fft=256, win=256, hop=64, n_mels=20, high_hz=0.0)


def make_recipe(corpus: Path, out: Path, **settings) -> VocoderRecipe:
    """8 steps, the discriminators from step 4 on, a checkpoint every second step."""
    return VocoderRecipe(
        model=VocosConfig(MEL, d_model=16, n_layers=1, d_ff=32, kernel=5),
        data=CropConfig(str(corpus / "train.jsonl"), str(corpus / "dev.jsonl"), crop_samples=2048, crops=2),
        gan=GANConfig(warmup_share=0.5, period_channels=2, resolution_channels=4),
        optim=OptimConfig(lr=3e-3, warmup_steps=2, clip=100.0),
        train=short_run(TrainConfig, out, 8, **settings),
    )


@pytest.fixture(scope="module")
def whole(corpus, tmp_path_factory):
    """Uninterrupted runs by accumulate: (batches seen, folder)."""
    outs = {accumulate: tmp_path_factory.mktemp("whole") for accumulate in (1, 2)}
    recipes = {accumulate: make_recipe(corpus, out, accumulate=accumulate) for accumulate, out in outs.items()}
    return {n: (seen_in(train, recipe, VocoderTask), outs[n]) for n, recipe in recipes.items()}


@pytest.mark.parametrize("accumulate, batch, resumed_at", [(1, 4, 4), (1, 7, 6), (2, 9, 8)])
def test_a_resumed_run_is_the_run_that_would_have_been(corpus, whole, tmp_path, accumulate, batch, resumed_at):
    batches, reference = whole[accumulate]
    recipe = make_recipe(corpus, tmp_path, accumulate=accumulate)
    first = seen_in(train, recipe, VocoderTask, crash_at=batch)
    assert first[:resumed_at] + seen_in(train, recipe, VocoderTask) == batches
    assert last_weights(tmp_path) == last_weights(reference)  # with the discriminators
    assert log_rows(tmp_path) == log_rows(reference)


def finishing(corpus: Path, out: Path, start: Path, mels: Path, **settings) -> VocoderRecipe:
    """From a vocoder's folder, on mels beside the true ones."""
    recipe = make_recipe(corpus, out, **settings)
    recipe.init, recipe.data.mels = str(start / "model"), str(mels)
    recipe.model = VocosConfig(MEL)  # of another size than the folder's
    return recipe


@pytest.fixture(scope="module")
def predicted(corpus, tmp_path_factory) -> Path:
    """A file of the true mels, a little off."""
    log_mel, path = LogMel(MEL), tmp_path_factory.mktemp("mels") / "mels.npz"
    cuts = [cut for split in ("train", "dev") for cut in open_manifest(corpus / f"{split}.jsonl")]
    made = ((cut.id, log_mel(torch.from_numpy(load_audio(cut, RATE))[None])[0].numpy() + 0.1) for cut in cuts)
    save_arrays(path, made)
    return path


def test_finishing_on_predicted_mels_goes_on_as_if_never_stopped(corpus, whole, predicted, tmp_path):
    start, runs = whole[1][1], [tmp_path / name for name in ("whole", "stopped")]
    recipes = [finishing(corpus, run, start, predicted, max_steps=4) for run in runs]
    batches = seen_in(train, recipes[0], VocoderTask)
    assert seen_in(train, recipes[1], VocoderTask, 3)[:2] + seen_in(train, recipes[1], VocoderTask) == batches
    models = [(run / "model/model.safetensors").read_bytes() for run in (*runs, start)]
    assert models[0] == models[1] != models[2]


def test_finishing_begins_with_the_weights_of_the_folder_and_hears_the_mels(corpus, whole, predicted, tmp_path):
    start, seen = whole[1][1], []
    recipe = finishing(corpus, tmp_path, start, predicted, max_steps=1, save_every_steps=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Vocos, "forward", lambda model, mels: seen.append((copy.deepcopy(model), mels)) or 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(recipe)
    model, mels = seen[0]
    weights = load_file(start / "model/model.safetensors")
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items()) and model.training
    (batch,) = CropStream(list(open_manifest(recipe.data.train)), RATE, 2048, 64, 2, 1, 1, mels=Arrays(predicted))
    assert batch.mels is not None and torch.equal(mels, batch.mels)
    torch.testing.assert_close(
        (mels - model.mel(batch.waveforms))[:, 2:-2].mean(), torch.tensor(0.1), rtol=0, atol=1e-3
    )


def test_other_mels_are_another_run(corpus, whole, predicted, tmp_path):
    recipe = finishing(corpus, tmp_path, whole[1][1], predicted)
    told = describe_vocoder(recipe)
    assert told["the initial weights"] == fingerprint(whole[1][1] / "model/model.safetensors")
    other = replace(recipe, data=replace(recipe.data, mels=recipe.init + "/config.json"))
    assert {key for key, value in describe_vocoder(other).items() if value != told[key]} == {"the mels"}


def test_mels_that_do_not_fit_are_told(corpus, predicted, tmp_path):
    recipe = make_recipe(corpus, tmp_path)
    recipe.data.mels = str(tmp_path / "mels.npz")
    save_arrays(recipe.data.mels, [("train-0", np.zeros((3, 20)))])
    with pytest.raises(DataError, match="mels.npz: nothing for cut train-1; make it anew for this manifest$"):
        train(recipe)
    recipe = make_recipe(corpus, tmp_path)
    recipe.data.mels, recipe.model.mel.n_mels = str(predicted), 21
    with pytest.raises(SpeechError, match=r"^data.mels .*mels.npz has frames of \[20\], the vocoder reads 21 bins$"):
        train(recipe)


def test_the_mel_of_a_voice_is_that_of_its_vocoder_bit_for_bit(corpus):
    tokenizer = load_tokenizer(corpus / "tokenizer.model")
    data = DataConfig(batch_seconds=0.1, quadratic_seconds=0.0)  # a cut in each batch
    voice, vocoder = VoiceSound(MEL), Vocos(VocosConfig(MEL, d_model=8, n_layers=1, d_ff=8))
    asr = ASRStream(read_corpus(str(corpus / "dev.jsonl"), tokenizer, data, 1000), data, RATE, 0, None)
    spoken = {batch.ids[0]: voice(batch.waveforms, batch.waveform_lengths)[0] for batch in asr}
    whole_hops = []
    for batch in CropStream(list(open_manifest(corpus / "dev.jsonl")), RATE, 2048, MEL.hop, 1, 0, None):
        ours, theirs = vocoder.mel(batch.waveforms), spoken[batch.ids[0]]
        assert ours.shape == theirs.shape and torch.equal(ours[:, :-2], theirs[:, :-2])
        whole_hops.append(torch.equal(ours, theirs))  # else the last frames mirror what the vocoder's cut leaves out
    assert any(whole_hops)


def test_the_log_and_the_folder_say_what_was_trained(whole):
    batches, out = whole[1]
    assert len(batches) == 8
    train_rows = [row for row in log_rows(out) if "loss" in row]
    dev_rows = [row for row in log_rows(out) if "loss" not in row]
    for row in train_rows:
        expected = 45 * row["mel"] + row["stft"] + row["adversarial"] + 2 * row["matching"] + row["discriminator"]
        assert row["loss"] == pytest.approx(expected, rel=1e-5)
    told = [row["discriminator"] for row in train_rows]
    assert told[:4] == [0.0] * 4 and all(value > 0 for value in told[4:])
    assert [row["step"] for row in dev_rows] == [4, 8] and dev_rows[0].keys() == {"step", "dev_mel", "dev_stft"}
    assert dev_rows[1]["dev_mel"] < dev_rows[0]["dev_mel"]
    assert load_vocoder(out / "model").config.d_model == 16
    assert "Mean of the checkpoints of steps 4, 6, 8." in (out / "model/README.md").read_text()
    assert (out / "curves.png").stat().st_size > 1000


@pytest.mark.parametrize("share, learns", [(1.0, False), (0.0, True)])
def test_the_discriminators_learn_only_when_they_judge(corpus, tmp_path, share, learns):
    recipe = make_recipe(corpus, tmp_path, max_steps=1, save_every_steps=1)
    recipe.gan.warmup_share = share
    start = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VocoderTask, "on_fit_start", lambda task: start.update(copy.deepcopy(task.state_dict())))
        train(recipe)
    end = load_file(tmp_path / "checkpoints/step-00000001/model.safetensors")
    kernels = [name for name, tensor in end.items() if tensor.ndim > 1]
    moved = {name for name in kernels if not torch.equal(start[name], end[name])}
    assert {name.split(".")[0] for name in moved} == ({"model", "discriminators"} if learns else {"model"})
    assert moved == {name for name in kernels if learns or name.startswith("model.")}


def test_accumulated_batches_are_one_batch():
    """The gradient is the mean over all crops of a step: Adam would hide a wrong scale."""
    torch.manual_seed(0)
    recipe = VocoderRecipe(
        gan=GANConfig(warmup_share=0.0, period_channels=1, resolution_channels=1), train=TrainConfig(accumulate=2)
    )
    task = VocoderTask(Vocos(VocosConfig(d_model=8, n_layers=1, d_ff=8)), recipe)
    strategy = SimpleNamespace(reduce=lambda value, reduce_op: value)
    trainer = SimpleNamespace(world_size=1, global_step=0, strategy=strategy, accumulate_grad_batches=2)
    task._trainer = trainer  # type: ignore[assignment]
    waveforms = 0.1 * torch.randn(3, 4096)
    for part in (waveforms[:1], waveforms[1:]):
        batch = CropBatch(part, ["a"] * len(part), [], (0, 0, 0))
        (task.training_step(batch, 0)["loss"] / 2).backward()  # as Lightning does
    MeanGradient().on_before_optimizer_step(trainer, task, None)
    apart = [p.grad.clone() for p in task.parameters() if p.grad is not None]
    task.zero_grad()
    (task.training_step(CropBatch(waveforms, ["a"] * 3, [], (0, 0, 0)), 0)["loss"] / 3).backward()
    together = [p.grad for p in task.parameters() if p.grad is not None]
    torch.testing.assert_close(apart, together, rtol=1e-3, atol=1e-5)


def test_lightning_moves_our_batches():
    batch = CropBatch(torch.zeros(1, 8), ["a"], [], (0, 0, 0), torch.zeros(1, 1, 4))
    there = move_data_to_device(batch, torch.device("meta"))
    assert there.waveforms.is_meta and there.mels.is_meta and there.ids == ["a"]


def test_each_side_has_its_own_clip():
    recipe = VocoderRecipe(gan=GANConfig(period_channels=1, resolution_channels=1))
    task = VocoderTask(Vocos(VocosConfig(d_model=8, n_layers=1, d_ff=8)), recipe)
    for part, size in ((task.model, 1e3), (task.discriminators, 1e-6)):
        for p in part.parameters():
            p.grad = torch.full_like(p, size)
    task.configure_gradient_clipping(torch.optim.SGD(task.parameters()), 0.5)
    grads = [p.grad for p in task.model.parameters() if p.grad is not None]
    assert float(torch.nn.utils.get_total_norm(grads)) == pytest.approx(0.5, rel=1e-3)
    assert all(p.grad is not None and p.grad.max() == 1e-6 for p in task.discriminators.parameters())


def test_settings_that_cannot_be(corpus, tmp_path):
    with pytest.raises(SpeechError, match="^train.devices 2: a vocoder is trained on one device, set 1$"):
        make_recipe(corpus, tmp_path, devices=2)
    with pytest.raises(SpeechError, match="^data.crop_samples 8000 must be a multiple of model.mel.hop 256, 2048 or"):
        VocoderRecipe(data=CropConfig(crop_samples=8000))
    with pytest.raises(SpeechError, match="^optim.freeze and optim.layer_decay are for recognisers"):
        VocoderRecipe(optim=OptimConfig(freeze=["embed"]))
    with pytest.raises(SpeechError, match="^data.dev is empty: give --data.dev PATH$"):
        train(VocoderRecipe(data=CropConfig("train.jsonl")))
