"""kill -9 of two ranks with loader processes and dropout, at random moments: nothing is lost, repeated or changed."""

import os
import signal
import time

import numpy as np
import pytest
from ranks import in_ranks, start_ranks
from tiny_run import make_recipe

from recipes.train_aed import train
from speech.training.aed_task import AEDTask

STEPS = 14


def work_in(corpus, out):
    """Each rank notes place, cuts and loss of every batch it trains on."""

    def work(rank):
        recipe = make_recipe(corpus, out, devices=2, max_steps=STEPS, valid_every_steps=7, save_every_steps=3)
        recipe.data.workers = 2
        assert recipe.model.encoder.dropout > 0
        original = AEDTask.training_step

        def training_step(task, batch, batch_idx):
            result = original(task, batch, batch_idx)
            with open(out / f"rank-{rank}.txt", "a") as file:
                file.write(f"{batch.place} {batch.passes} {batch.ids} {float(result['loss'].detach()).hex()}\n")
            return result

        pytest.MonkeyPatch().setattr(AEDTask, "training_step", training_step)
        train(recipe)

    out.mkdir(exist_ok=True)
    return work


def notes(out, rank):
    path = out / f"rank-{rank}.txt"
    return path.read_text().splitlines() if path.exists() else []


def test_three_kills_change_neither_batches_nor_losses(corpus, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert in_ranks(work_in(corpus, whole)) == [0, 0]
    expected = [notes(whole, rank) for rank in range(2)]
    assert [len(rows) for rows in expected] == [STEPS, STEPS] and not set(expected[0]) & set(expected[1])

    rng, killed = np.random.default_rng(), 0
    for _ in range(3):
        before = len(notes(cut, 0))
        more = int(rng.integers(1, 5))
        processes = start_ranks(work_in(corpus, cut))
        while len(notes(cut, 0)) < before + more and all(p.is_alive() for p in processes):
            time.sleep(0.002)
        time.sleep(rng.random() * 0.1)
        killed += all(p.is_alive() for p in processes)
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.join()
    assert killed == 3
    assert in_ranks(work_in(corpus, cut)) == [0, 0]
    for rank in range(2):
        found = notes(cut, rank)
        assert set(found) == set(expected[rank]) and found[-3:] == expected[rank][-3:]
    name = f"checkpoints/step-{STEPS:08d}/model.safetensors"
    assert (cut / name).read_bytes() == (whole / name).read_bytes()
