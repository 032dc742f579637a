import json
import logging
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from tiny_run import RATE, log_rows, make_corpus, make_recipe, seen_in

from recipes.train_aed import train
from speech.errors import SpeechError
from speech.folder import load_folder
from speech.training import callbacks
from speech.training.aed_task import AEDTask
from speech.training.checkpoint import newest
from speech.training.trainer import lightning_precision


@pytest.fixture
def batches(monkeypatch):
    """Every training batch with its sums, as the callbacks see them."""
    seen, original = [], AEDTask.training_step

    def training_step(task, batch, batch_idx):
        out = original(task, batch, batch_idx)
        seen.append((batch, out["sums"].tolist()))
        return out

    monkeypatch.setattr(AEDTask, "training_step", training_step)
    return seen


@pytest.fixture
def clock(monkeypatch):
    """Time that stands still but for the 60 s of a training batch and 1000 s of a validation."""
    now, step, validation = [0.0], AEDTask.training_step, AEDTask.on_validation_start

    def training_step(task, batch, batch_idx):
        now[0] += 60
        return step(task, batch, batch_idx)

    def on_validation_start(task):
        now[0] += 1000
        validation(task)

    monkeypatch.setattr(callbacks, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(AEDTask, "training_step", training_step)
    monkeypatch.setattr(AEDTask, "on_validation_start", on_validation_start)


def test_the_log_says_what_was_trained(corpus, tmp_path, batches, clock):
    """Two batches a step, two steps a line."""
    recipe = make_recipe(corpus, tmp_path, accumulate=2, max_steps=4, log_every_steps=2, valid_every_steps=4)
    train(recipe)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(row["step"], "loss" in row) for row in rows] == [(2, True), (4, True), (4, False)]
    for row, part in zip(rows[:2], (batches[:4], batches[4:]), strict=True):
        sums = [sum(values) for values in zip(*(s for _, s in part), strict=True)]
        texts = sum(int((b.token_lengths - b.prompt_lengths).sum()) for b, _ in part)
        assert sums[3] == texts, "the loss is over text and end"
        w = recipe.train.ctc_weight
        assert sums[0] == pytest.approx((1 - w) * sums[1] + w * sums[2], rel=1e-5)
        assert [row[k] * texts for k in ("loss", "attention", "ctc")] == pytest.approx(sums[:3], rel=1e-6)
        samples = sum(int(b.waveform_lengths.sum()) for b, _ in part)
        assert row["audio_s_per_s"] == pytest.approx(samples / RATE / 240)
        assert row["padding_audio"] == pytest.approx(1 - samples / sum(b.waveforms.numel() for b, _ in part))
        tokens = sum(int(b.token_lengths.sum()) for b, _ in part)
        assert row["padding_tokens"] == pytest.approx(1 - tokens / sum(b.tokens.numel() for b, _ in part))
        assert row["epoch"] == part[-1][0].place[0]
    assert [row["lr"] for row in rows[:2]] == pytest.approx([3e-3 * 2 / 4, 3e-3]), "the rate that was used"
    assert rows[2].keys() == {"step", "dev_attention", "dev_ctc", "dev_error"} and 0 <= rows[2]["dev_error"] <= 1
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_time_left_is_that_of_training(corpus, tmp_path, clock, caplog):
    caplog.set_level("INFO")
    train(make_recipe(corpus, tmp_path, max_steps=6, log_every_steps=3, valid_every_steps=2))
    lines = [record.getMessage() for record in caplog.records]
    assert [line.rpartition("left ")[2] for line in lines if "  left " in line] == ["3.0 min", "0.0 min"]


@pytest.mark.parametrize("subsampling, warned", [("conv4", False), ("dw8", True)])  # 25 and 12.5 frames a second
def test_tokens_that_leave_ctc_no_room_are_told(corpus, tmp_path, caplog, subsampling, warned):
    caplog.set_level("INFO")
    recipe = make_recipe(corpus, tmp_path, max_steps=1, valid_every_steps=1)
    recipe.model.encoder.subsampling = subsampling
    train(recipe)
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert f"CTC: 10.0 tokens in {12.5 if warned else 25:g} frames a second" in said
    assert ("a token for every 1.2 frames leaves CTC little room" in said) == warned


def nan_loss(out, task):
    return out | {"loss": out["loss"] * math.nan}


def nan_gradient(out, task):
    weight = task.model.enc_proj.weight if hasattr(task.model.enc_proj, "weight") else task.model.decoder.embed.weight
    return out | {"loss": out["loss"] + (weight * 0).sqrt().sum()}


@pytest.mark.parametrize(
    "break_it, what", [(nan_loss, "the loss is nan"), (nan_gradient, "the norm of the gradient nan")]
)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_loss_that_is_not_finite_stops_before_the_weights_break(
    corpus, tmp_path, monkeypatch, batches, break_it, what, accumulate
):
    original = AEDTask.training_step

    def training_step(task, batch, batch_idx):
        out = original(task, batch, batch_idx)
        return break_it(out, task) if len(batches) == 5 else out

    monkeypatch.setattr(AEDTask, "training_step", training_step)
    recipe = make_recipe(corpus, tmp_path, save_every_steps=1, accumulate=accumulate)
    with pytest.raises(SpeechError) as stop:
        train(recipe)
    step = 5 if accumulate == 1 else 3
    bad = batches[4][0] if accumulate == 1 or break_it is nan_loss else batches[5][0]
    message = str(stop.value)
    assert f"at step {step} the loss is" in message and what in message and ", ".join(bad.ids) in message
    assert "Lower optim.lr" in message and "\n" not in message
    saved = torch.load(tmp_path / f"nonfinite-step-{step}-rank-0.pt", weights_only=True)
    assert saved["ids"] == bad.ids and torch.equal(saved["waveforms"], bad.waveforms)
    last = newest(tmp_path / "checkpoints")
    assert last is not None and last.name == f"step-{step - 1:08d}"
    assert all(bool(t.isfinite().all()) for t in load_file(last / "model.safetensors").values())


def test_bf16_trains_and_the_weights_stay_float32(corpus, tmp_path):
    recipe = make_recipe(corpus, tmp_path, precision="bf16", max_steps=3, valid_every_steps=3)
    folder = train(recipe)
    rows = log_rows(tmp_path)
    assert all(math.isfinite(row["loss"]) for row in rows if "loss" in row) and len(rows) == 4
    assert {p.dtype for p in load_folder(folder).model.parameters()} == {torch.float32}


def test_precision_follows_the_accelerator():
    assert lightning_precision("auto", "cpu") == "32-true"
    assert lightning_precision("32", "auto") == "32-true" and lightning_precision("bf16", "cpu") == "bf16-mixed"


@pytest.mark.parametrize("accumulate", [1, 2])
def test_validation_comes_after_every_n_steps_also_after_a_resume(corpus, tmp_path, accumulate):
    def dev_steps():
        return [row["step"] for row in log_rows(tmp_path) if "dev_error" in row]

    recipe = make_recipe(corpus, tmp_path, accumulate=accumulate, max_steps=7, valid_every_steps=3, save_every_steps=5)

    seen_in(train, recipe, AEDTask, 5 * accumulate)
    assert dev_steps() == [3]
    train(recipe)
    assert dev_steps() == [3, 6]


def test_a_short_run_is_validated_at_its_end(corpus, tmp_path):
    recipe = make_recipe(corpus, tmp_path, max_steps=2, valid_every_steps=500)
    recipe.data = replace(recipe.data, batch_seconds=60.0)  # dev is less than a batch
    train(recipe)
    rows = log_rows(tmp_path)
    assert [row["step"] for row in rows] == [1, 2, 2] and "dev_error" in rows[-1]


def test_audio_that_vanishes_is_counted_and_named_and_training_goes_on(tmp_path, caplog):
    folder = make_corpus(tmp_path / "corpus")
    (folder / "train-3.wav").unlink()
    (folder / "train-5.wav").write_bytes(b"RIFF")
    recipe = make_recipe(folder, tmp_path / "out")
    recipe.data.max_lost = 0.2
    with caplog.at_level(logging.WARNING):
        train(recipe)
    rows = log_rows(tmp_path / "out")
    warned = [r.getMessage() for r in caplog.records if r.getMessage().startswith("cut left out: ")]
    assert rows[-2]["step"] == 12 and rows[-2]["lost_cuts"] == len(warned) >= 2
    assert {w.split(": ")[1] for w in warned} == {"train-3", "train-5"} and all(".wav" in w for w in warned)


def test_too_much_lost_audio_stops_with_share_and_setting(tmp_path):
    folder = make_corpus(tmp_path / "corpus")
    for i in range(12):
        (folder / f"train-{i}.wav").unlink()
    recipe = make_recipe(folder, tmp_path / "out", log_every_steps=4)
    recipe.data.max_lost = 0.1
    with pytest.raises(SpeechError, match=r"^\d+ of \d+ cuts could not be read, more than data.max_lost 0.1; the warn"):
        train(recipe)
