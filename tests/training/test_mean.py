"""The loss is a mean over the target tokens of a step, however its utterances lie in batches and on ranks."""

import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from ranks import in_ranks
from tiny_run import RATE, Seen, log_rows, make_recipe

from recipes.train_aed import train
from speech.data.asr import ASRStream
from speech.data.corpus import read_corpus
from speech.data.sampler import Plan
from speech.models.aed import AED
from speech.text.tokenizer import Tokenizer
from speech.training import aed_task
from speech.training.aed_task import AEDTask
from speech.training.trainer import fit

GROUPS = [[[0, 1], [2, 3, 4, 5, 6]], [[7, 8, 9, 10], [11]]]  # steps of two batches of unequal size


class Fixed(list):
    """Given batches in the place of a stream."""

    sample_rate, start, consumed, max_lost = RATE, (0, 0, 0), 0, 0.01


def sgd(model, config, max_steps):
    """Adam would turn the rounding of gradients that are zero into steps of full size."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    return {"optimizer": optimizer}


def weights_after(corpus, out, plan, accumulate=1, devices=1):
    """Train on the cuts of `plan`, a list of batches of positions in the manifest, without randomness."""
    recipe = make_recipe(corpus, out, accumulate=accumulate, devices=devices, max_steps=2, label_smoothing=0.1)
    recipe.model.encoder.dropout = recipe.model.decoder.dropout = 0.0
    recipe.data.augment = replace(recipe.data.augment, freq_masks=0, time_masks=0)
    tokenizer = Tokenizer.load(recipe.data.tokenizer)
    stream = ASRStream(read_corpus(recipe.data.train, tokenizer, recipe.data, 64), recipe.data, RATE, 1, None)
    batches = [stream[Plan(np.array(rows), np.zeros(len(rows), int), 0, 0, k)] for k, rows in enumerate(plan)]
    torch.manual_seed(0)
    model = AED(recipe.model, tokenizer.size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aed_task, "make_optimizer", sgd)
        task = AEDTask(model, recipe, tokenizer.blank_id)
        fit(task, Fixed(batches), Fixed(batches[:1]), recipe.optim, recipe.train, {})
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.fixture(scope="module")
def union(corpus, tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("union")
    weights = weights_after(corpus, out, [a + b for a, b in GROUPS])
    torch.set_num_threads(threads)
    return weights, log_rows(out)[-1]


def assert_same(ours, theirs):
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=0, atol=1e-6, msg=name)


def test_accumulated_batches_are_one_batch(corpus, union, tmp_path):
    assert_same(weights_after(corpus, tmp_path, [batch for pair in GROUPS for batch in pair], accumulate=2), union[0])


def test_two_ranks_are_one_batch(corpus, union, tmp_path):
    def work(rank):
        weights = weights_after(corpus, tmp_path / "out", [pair[rank] for pair in GROUPS], devices=2)
        torch.save(weights, tmp_path / f"{rank}.pt")

    assert in_ranks(work) == [0, 0]
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    assert_same(ranks[0], union[0])
    assert "dev_error" in union[1] and log_rows(tmp_path / "out")[-1] == pytest.approx(union[1], rel=1e-5)
    assert all(torch.equal(ranks[0][name], ranks[1][name]) for name in ranks[0])


def test_two_ranks_stop_together_and_resume_to_the_bit(corpus, tmp_path):
    """The signal reaches one rank only; the resumed run has dropout and augmentation."""

    def run(out, at=None):
        def work(rank):
            recipe = make_recipe(corpus, out, devices=2, max_steps=6, valid_every_steps=3, save_every_steps=5)
            act = (lambda: signal.raise_signal(signal.SIGTERM)) if rank == 1 else (lambda: None)
            Seen().watch(pytest.MonkeyPatch(), at, act)
            train(recipe)

        return in_ranks(work)

    assert run(tmp_path / "whole") == [0, 0]
    assert run(tmp_path / "cut", at=2) == [75, 75]
    assert [path.name for path in (tmp_path / "cut/checkpoints").glob("step-*")] == ["step-00000003"]
    assert run(tmp_path / "cut") == [0, 0]
    name = "checkpoints/step-00000006/model.safetensors"
    assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert (tmp_path / "cut/model/model.safetensors").exists()
