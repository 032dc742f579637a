import copy
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from tiny_run import RATE

from recipes.train_vocoder import train
from speech.data.crops import CropBatch
from speech.errors import SpeechError
from speech.models.vocos import Vocos
from speech.nn.mel_config import MelConfig, VocosConfig
from speech.training.config import OptimConfig, TrainConfig
from speech.training.vocoder_config import CropConfig, GANConfig, VocoderRecipe
from speech.training.vocoder_task import VocoderTask
from speech.vocoder_folder import load_vocoder


class Crash(Exception):
    pass


def make_recipe(corpus: Path, out: Path, **settings) -> VocoderRecipe:
    """8 steps, the discriminators from step 4 on, a checkpoint every second step."""
    config = TrainConfig(
        out=str(out),
        max_steps=8,
        valid_every_steps=4,
        save_every_steps=2,
        log_every_steps=1,
        accelerator="cpu",
        threads=1,
    )
    mel = MelConfig(sample_rate=RATE, n_fft=256, win=256, hop=64, n_mels=20, high_hz=0.0)
    return VocoderRecipe(
        model=VocosConfig(mel, d_model=16, n_layers=1, d_ff=32, kernel=5),
        data=CropConfig(str(corpus / "train.jsonl"), str(corpus / "dev.jsonl"), crop_samples=2048, crops=2),
        gan=GANConfig(warmup_share=0.5, period_channels=2, resolution_channels=4),
        optim=OptimConfig(lr=3e-3, warmup_steps=2, clip=100.0),
        train=replace(config, **settings),
    )


def watch(patch, at: int | None = None) -> list:
    """(place, ids, loss as hex) of every batch from now on; a crash in batch `at`, counted from 0."""
    original, seen = VocoderTask.training_step, []

    def training_step(task, batch, batch_idx):
        if len(seen) == at:
            raise Crash
        out = original(task, batch, batch_idx)
        seen.append((batch.place, tuple(batch.ids), float(out["loss"].detach()).hex()))
        return out

    patch.setattr(VocoderTask, "training_step", training_step)
    return seen


def rows(out: Path) -> list[dict]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "audio_s_per_s"} for row in lines]


@pytest.fixture(scope="module")
def whole(corpus, tmp_path_factory):
    """Uninterrupted runs by accumulate: (batches seen, folder)."""
    runs = {}
    for accumulate in (1, 2):
        out = tmp_path_factory.mktemp("whole")
        with pytest.MonkeyPatch.context() as patch:
            seen = watch(patch)
            train(make_recipe(corpus, out, accumulate=accumulate))
        runs[accumulate] = seen, out
    return runs


@pytest.mark.parametrize("accumulate, batch, resumed_at", [(1, 4, 4), (1, 7, 6), (2, 9, 8)])
def test_a_resumed_run_is_the_run_that_would_have_been(corpus, whole, tmp_path, accumulate, batch, resumed_at):
    batches, reference = whole[accumulate]
    recipe = make_recipe(corpus, tmp_path, accumulate=accumulate)
    with pytest.MonkeyPatch.context() as patch:
        first = watch(patch, batch)
        with pytest.raises(Crash):
            train(recipe)
    with pytest.MonkeyPatch.context() as patch:
        rest = watch(patch)
        train(recipe)
    assert first[:resumed_at] + rest == batches
    last = "checkpoints/step-00000008/model.safetensors"  # with the discriminators
    assert (tmp_path / last).read_bytes() == (reference / last).read_bytes()
    assert rows(tmp_path) == rows(reference)


def test_the_log_and_the_folder_say_what_was_trained(whole):
    batches, out = whole[1]
    assert len(batches) == 8
    train_rows = [row for row in rows(out) if "loss" in row]
    dev_rows = [row for row in rows(out) if "loss" not in row]
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
    task._trainer = SimpleNamespace(world_size=1, global_step=0, strategy=strategy)  # type: ignore[assignment]
    waveforms = 0.1 * torch.randn(3, 4096)
    for part in (waveforms[:1], waveforms[1:]):
        batch = CropBatch(part, ["a"] * len(part), [], (0, 0, 0))
        (task.training_step(batch, 0)["loss"] / 2).backward()  # as Lightning does
    task.on_before_optimizer_step(torch.optim.SGD(task.parameters()))
    apart = [p.grad.clone() for p in task.parameters() if p.grad is not None]
    task.zero_grad()
    (task.training_step(CropBatch(waveforms, ["a"] * 3, [], (0, 0, 0)), 0)["loss"] / 3).backward()
    together = [p.grad for p in task.parameters() if p.grad is not None]
    torch.testing.assert_close(apart, together, rtol=1e-3, atol=1e-5)


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
