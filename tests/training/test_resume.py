import json
import logging
import multiprocessing
import os
import shutil
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
from tiny_run import WORDS, Crash, Seen, crash, last_weights, log_rows, make_recipe, seen_in, sine_cut

from recipes.train_aed import train
from speech.data.manifests import save_manifest
from speech.errors import SpeechError
from speech.text.tokenizer import Tokenizer
from speech.training.aed_task import AEDTask
from speech.training.callbacks import Stopped
from speech.training.run import changes


def terminate():
    signal.raise_signal(signal.SIGTERM)


@pytest.fixture(scope="module")
def whole(corpus, tmp_path_factory):
    """Uninterrupted runs by accumulate: (batches seen, log rows, folder)."""
    runs = {}
    for accumulate in (1, 2):
        out = tmp_path_factory.mktemp("whole")
        seen = seen_in(train, make_recipe(corpus, out, accumulate=accumulate), AEDTask)
        runs[accumulate] = (seen, log_rows(out), out)
    return runs


# with accumulate 2, batch 5 is the second one of step 3; the first epoch has 8 batches; validation is after step 6
@pytest.mark.parametrize(
    "accumulate, batch, act, resumed_at",
    [(1, 0, crash, 0), (1, 5, crash, 4), (1, 6, crash, 6), (1, 7, terminate, 8), (1, 11, crash, 10)]
    + [(2, 5, crash, 4), (2, 6, terminate, 8), (2, 13, crash, 12)],
)
def test_a_resumed_run_is_the_run_that_would_have_been(
    corpus, whole, tmp_path, monkeypatch, accumulate, batch, act, resumed_at
):
    batches, rows, reference = whole[accumulate]
    recipe, seen = make_recipe(corpus, tmp_path, accumulate=accumulate), Seen()
    with monkeypatch.context() as patch:
        seen.watch(patch, batch, act)
        with pytest.raises(Stopped if act is terminate else Crash):
            train(recipe)
    first = list(seen)
    seen.watch(monkeypatch)
    train(recipe)
    assert first[:resumed_at] + list(seen) == batches
    assert last_weights(tmp_path) == last_weights(reference)
    assert (tmp_path / "model/model.safetensors").read_bytes() == (reference / "model/model.safetensors").read_bytes()
    assert log_rows(tmp_path) == rows


def test_sigterm_is_told_and_the_handlers_are_given_back(corpus, tmp_path, monkeypatch):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGUSR1)
    Seen().watch(monkeypatch, 2, terminate)
    with pytest.raises(
        Stopped, match="^stopped by a signal after step 3; the same command goes on from step 3$"
    ) as stop:
        train(make_recipe(corpus, tmp_path, save_every_steps=100))
    assert stop.value.exit_code == 75
    assert [path.name for path in (tmp_path / "checkpoints").glob("step-*")] == ["step-00000003"]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGUSR1)) == before


def train_and_exit(recipe):
    try:
        train(recipe)
    except SpeechError as error:
        os._exit(error.exit_code)
    os._exit(0)


def start(recipe):
    process = multiprocessing.get_context("fork").Process(target=train_and_exit, args=(recipe,))
    process.start()
    return process


def test_kill_9_at_random_moments_changes_nothing(corpus, whole, tmp_path):
    rng = np.random.default_rng(0)
    recipe, log = make_recipe(corpus, tmp_path), tmp_path / "log.jsonl"
    ends = []
    for lines in sorted(rng.integers(1, 10, size=3)):
        process = start(recipe)
        while process.is_alive() and (not log.exists() or log.read_text().count("\n") < lines):
            time.sleep(0.002)
        time.sleep(rng.random() * 0.05)
        process.kill()
        process.join()
        ends.append(process.exitcode)
    assert -signal.SIGKILL in ends
    process = start(recipe)
    process.join()
    assert process.exitcode == 0
    _, rows, reference = whole[1]
    assert log_rows(tmp_path) == rows
    assert last_weights(tmp_path) == last_weights(reference)


def test_a_finished_run_started_again_ends_at_once(corpus, whole, tmp_path, monkeypatch):
    _, rows, reference = whole[1]
    out = shutil.copytree(reference, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (out / "model").iterdir()}
    seen = Seen()
    seen.watch(monkeypatch)
    recipe = make_recipe(corpus, out)
    recipe.data.workers = 3
    recipe.train = replace(recipe.train, keep=5, save_every_steps=5, valid_every_steps=5, log_every_steps=5)
    train(recipe)
    assert not seen and log_rows(out) == rows
    shutil.copytree(corpus, tmp_path / "moved")
    recipe = make_recipe(corpus, out)
    recipe.data.tokenizer = str(tmp_path / "moved/tokenizer.model")
    shutil.copy(corpus / "train.jsonl", tmp_path / "other-name.jsonl")  # the paths of the audio are absolute
    recipe.data.train = str(tmp_path / "other-name.jsonl")
    train(recipe)
    assert {path.name: path.read_bytes() for path in (out / "model").iterdir()} == before and not seen


def lower_lr(recipe, folder):
    recipe.optim.lr, recipe.model.encoder.dropout = 1e-3, 0.2


def another_word(recipe, folder):
    recipe.data.train = str(folder / "train.jsonl")
    save_manifest([sine_cut(folder, f"new-{i}", list(WORDS)[: 2 + i % 4]) for i in range(9)], recipe.data.train)


def another_tokenizer(recipe, folder):
    recipe.data.tokenizer = str(folder / "tokenizer.model")
    Tokenizer.train([" ".join(WORDS), "so"], recipe.data.tokenizer, 64, byte_fallback=False)


@pytest.fixture
def half(corpus, tmp_path, monkeypatch):
    """A run that was stopped after step 4."""
    with monkeypatch.context() as patch:
        Seen().watch(patch, 3, terminate)
        with pytest.raises(Stopped):
            train(make_recipe(corpus, tmp_path / "out"))
    return tmp_path / "out"


@pytest.mark.parametrize(
    "change, told",
    [
        (lower_lr, "model.encoder.dropout was 0.1, is 0.2; optim.lr was 0.003, is 0.001"),
        (another_word, "the training manifest changed"),
        (another_tokenizer, "the tokenizer changed"),
    ],
)
def test_a_changed_run_is_refused_or_goes_on_inexactly(corpus, half, tmp_path, caplog, monkeypatch, change, told):
    recipe, seen = make_recipe(corpus, half), Seen()
    seen.watch(monkeypatch)
    change(recipe, tmp_path)
    with pytest.raises(SpeechError) as refused:
        train(recipe)
    message = str(refused.value)
    assert f"step-00000004 is of another run: {told}. Give another --train.out" in message
    assert "--train.resume_inexact true" in message and "\n" not in message and not seen
    recipe.train.resume_inexact = True
    with caplog.at_level(logging.WARNING):
        train(recipe)
    assert len(seen) == 8 and told in caplog.text


def test_more_steps_are_another_run_that_goes_on_inexactly(corpus, whole, tmp_path, monkeypatch):
    out, seen = shutil.copytree(whole[1][2], tmp_path / "out"), Seen()
    with pytest.raises(SpeechError, match="train.max_steps was 12, is 15. Give"):
        train(make_recipe(corpus, out, max_steps=15))
    seen.watch(monkeypatch)
    train(make_recipe(corpus, out, max_steps=15, resume_inexact=True))
    assert [row[:3] for row in seen] == [(1, 1, 2), (1, 1, 3), (2, 0, 0)]
    assert [row["step"] for row in log_rows(out) if "loss" in row] == list(range(1, 16))


def test_another_number_of_processes_is_another_run(half):
    run = json.loads((half / "checkpoints/step-00000004/run.json").read_text())
    assert changes(run, run | {"processes": 2}) == ["processes was 1, is 2"]


def test_weights_of_another_shape_are_refused_in_one_line(corpus, half):
    recipe = make_recipe(corpus, half, resume_inexact=True)
    recipe.model.decoder.d_ff = 48
    with pytest.raises(
        SpeechError, match=r"ff.inner.weight is \[32, 16\] there and \[48, 16\] here.*--train.out"
    ) as no:
        train(recipe)
    assert "\n" not in str(no.value)
