"""The search for batch sizes with real training steps, on a tiny model."""

import os
import signal
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from tiny_run import make_recipe

from recipes import find_batch_sizes, make_bins
from recipes.train_aed import train
from speech.data.batch_sizes import BatchSizes
from speech.data.bins import Bins, profile_sizes
from speech.data.corpus import made_for
from speech.errors import SpeechError
from speech.text.tokenizer import Tokenizer
from speech.training.probe import Prober, device_memory

MIB = 2.0**20


@pytest.fixture
def recipe(corpus, tmp_path):
    recipe = make_recipe(corpus, tmp_path / "out")
    recipe.data.bins, recipe.data.batch_sizes = str(tmp_path / "bins.json"), str(tmp_path / "sizes.json")
    return recipe


def arguments(recipe):
    e, d, data = recipe.model.encoder, recipe.model.decoder, recipe.data
    size = {"d_model": 16, "n_layers": 1, "n_heads": 2, "d_ff": 32, "dropout": 0.1}
    options = {f"model.{part}.{k}": v for part in ("encoder", "decoder") for k, v in size.items()}
    options |= {f"model.encoder.{k}": getattr(e, k) for k in ("subsampling_channels", "conv_kernel")}
    options |= {f"model.frontend.{k}": getattr(recipe.model.frontend, k) for k in ("sample_rate", "n_mels")}
    options |= {"model.decoder.max_tokens": d.max_tokens}
    options |= {f"data.{k}": getattr(data, k) for k in ("train", "tokenizer", "bins", "batch_sizes", "batch_seconds")}
    options |= {"train.accelerator": "cpu", "train.threads": 1}
    return [word for k, v in options.items() for word in (f"--{k}", str(v))]


def prober(recipe, limit=4096 * MIB, timeout=60.0):
    return Prober(recipe, Tokenizer.load(recipe.data.tokenizer).size, 0, limit, 0.9, timeout)


def test_larger_batches_need_more_memory(recipe):
    run = prober(recipe)
    small, large = run(1.0, 20, 1), run(10.0, 20, 60)
    assert small.outcome == large.outcome == "ok"
    assert large.peak > small.peak + 50 * MIB and large.step_seconds > 0


def test_a_probe_over_the_limit_is_stopped(recipe):
    base = prober(recipe)(1.0, 20, 1).peak
    found = prober(recipe, limit=base / 2)(20.0, 20, 50)
    assert found.outcome == "oom" and found.peak > base / 2


def test_dead_hung_and_faulty_probes_are_told_apart(recipe, monkeypatch):
    monkeypatch.setattr(Prober, "_steps", lambda *a: os.kill(os.getpid(), signal.SIGKILL))
    assert (prober(recipe)(1.0, 20, 1).outcome, prober(recipe)(1.0, 20, 1).note) == ("dead", "exit code -9")
    monkeypatch.setattr(Prober, "_steps", lambda *a: signal.pause())
    assert prober(recipe, timeout=0.3)(1.0, 20, 1).outcome == "timeout"

    def fail(*a):
        raise KeyError("x")

    monkeypatch.setattr(Prober, "_steps", fail)
    assert prober(recipe)(1.0, 20, 1).note == "KeyError: 'x'"

    def full(*a):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Prober, "_steps", full)
    assert prober(recipe)(1.0, 20, 1).outcome == "oom"


def test_bins_and_sizes_are_made_and_trained_with(recipe, corpus, tmp_path, capsys):
    make_bins.main([recipe.data.train, *arguments(recipe), "--buckets", "2", "--sub_buckets", "2"])
    assert (tmp_path / "bins.png").stat().st_size > 10000 and "cuts a batch" in capsys.readouterr().out
    limit = (prober(recipe)(1.0, 20, 1).peak + 50 * MIB) / 2**30
    find_batch_sizes.main([*arguments(recipe), "--memory_gb", str(limit)])
    out = capsys.readouterr().out
    tokenizer = Tokenizer.load(recipe.data.tokenizer)
    bins = Bins.load(recipe.data.bins, made_for(tokenizer, recipe.data, 64))
    found = BatchSizes.load(recipe.data.batch_sizes, device_memory(recipe))
    assert len(found.sizes) == len(bins.edges) and min(found.sizes) >= 1 and "confirmed by 50 steps" in out
    assert found.sizes[0] >= found.sizes[-1]
    train(recipe)


def test_a_profile_of_another_model_or_bins_is_refused_unless_forced(recipe, tmp_path, capsys):
    make_bins.main([recipe.data.train, *arguments(recipe), "--buckets", "2"])
    tokenizer = Tokenizer.load(recipe.data.tokenizer)
    bins = Bins.load(recipe.data.bins, made_for(tokenizer, recipe.data, 64))
    sizes = (4,) * len(bins.edges)
    BatchSizes(sizes, device_memory(recipe), 1.0, []).save(tmp_path / "sizes.json")
    recipe.model.encoder.d_ff = 48
    with pytest.raises(SpeechError, match="the model was .*, is .*speech data batch-sizes, or set data.force"):
        train(recipe)
    recipe.data.force_batch_sizes = True
    recipe.train = replace(recipe.train, max_steps=2)
    train(recipe)
    with pytest.raises(SpeechError, match="data.batch_sizes has 7 sizes for"):
        profile_sizes(bins, [4] * 7)


@pytest.mark.parametrize("text", ["{", "[]", '{"sizes": [1]}'])
def test_a_file_that_is_no_profile_is_named(recipe, tmp_path, text):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(SpeechError, match="bad.json: not such a file"):
        BatchSizes.load(tmp_path / "bad.json", {})


def test_the_gpu_is_asked_in_another_process(recipe, tmp_path, monkeypatch):
    """A process that has met the GPU cannot be forked for the probes."""
    asked = tmp_path / "asked"

    def properties(index):
        asked.write_text(str(os.getpid()))
        return SimpleNamespace(name="Made-up 9", total_memory=80 * 2**30)

    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    recipe.train.accelerator = "auto"
    (tmp_path / "bins.json").write_text("{}")
    found = device_memory(recipe)
    assert (found["device"], found["memory GiB"]) == ("Made-up 9", 80.0)
    assert asked.read_text() != str(os.getpid())
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: os._exit(3))
    with pytest.raises(SpeechError, match="the GPU does not answer"):
        device_memory(recipe)
