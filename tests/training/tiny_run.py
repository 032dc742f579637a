"""A corpus of sine words and a tiny recogniser that trains on it in a second, for the tests of training."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import soundfile as sf
from lhotse import MonoCut, Recording, SupervisionSegment

from speech.data.config import DataConfig
from speech.data.manifests import save_manifest
from speech.nn.config import AEDConfig, DecoderConfig, EncoderConfig, FrontendConfig
from speech.text.tokenizer import Tokenizer
from speech.training.aed_task import AEDTask
from speech.training.config import AEDRecipe, AEDTrainConfig, OptimConfig

T = TypeVar("T")
RATE = 8000
WORDS = {"do": 300, "re": 500, "mi": 800, "fa": 1200, "so": 1900}  # Hz


def sine_cut(folder: Path, name: str, words: list[str]) -> MonoCut:
    """Each word is a tone of 0.1 s; longer texts are longer sounds."""
    t = np.arange(RATE // 10) / RATE
    x = np.concatenate([0.3 * np.sin(2 * np.pi * WORDS[word] * t) for word in words]).astype(np.float32)
    sf.write(folder / f"{name}.wav", x, RATE, subtype="FLOAT")
    seconds = len(x) / RATE
    supervision = SupervisionSegment(name, name, 0.0, seconds, text=" ".join(words))
    recording = Recording.from_file(folder / f"{name}.wav", recording_id=name)
    return MonoCut(name, 0.0, seconds, 0, recording=recording, supervisions=[supervision])


def make_corpus(folder: Path) -> Path:
    """24 training cuts, 6 dev cuts, 4 noises and a tokenizer in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    names = {"train": 24, "dev": 6}
    for split, count in names.items():
        cuts = [
            sine_cut(folder, f"{split}-{i}", list(rng.choice(list(WORDS), size=int(rng.integers(2, 8)))))
            for i in range(count)
        ]
        save_manifest(cuts, folder / f"{split}.jsonl")
    save_manifest([sine_cut(folder, f"noise-{i}", ["so"] * (2 + i)) for i in range(4)], folder / "noise.jsonl")
    Tokenizer.train([" ".join(WORDS)], folder / "tokenizer.model", 64, byte_fallback=False)
    return folder


def short_run(kind: type[T], out: Path, steps: int, **train) -> T:
    """By default validated in the middle and at the end, all losses logged, a checkpoint every second step."""
    values = dict(max_steps=steps, valid_every_steps=steps // 2, save_every_steps=2, log_every_steps=1)
    return kind(out=str(out), **{**values, "accelerator": "cpu", "threads": 1, **train})


def make_recipe(corpus: Path, out: Path, **train) -> AEDRecipe:
    """12 steps over 3 epochs."""
    size = dict(d_model=16, n_layers=1, n_heads=2, d_ff=32, dropout=0.1)
    data = DataConfig(
        train=str(corpus / "train.jsonl"),
        dev=str(corpus / "dev.jsonl"),
        tokenizer=str(corpus / "tokenizer.model"),
        batch_seconds=2.5,
        quadratic_seconds=0.0,
        pool_cuts=20,
    )
    return AEDRecipe(
        model=AEDConfig(
            FrontendConfig(sample_rate=RATE, n_mels=20),
            EncoderConfig(**size, subsampling_channels=8, conv_kernel=5),
            DecoderConfig(**size, max_tokens=64),
        ),
        data=data,
        optim=OptimConfig(lr=3e-3, warmup_steps=4),
        train=short_run(AEDTrainConfig, out, 12, **{"ctc_prior_steps": 6, **train}),
    )


class Crash(Exception):
    pass


def crash():
    raise Crash


class Seen(list):
    """(epoch, pool, index, ids, loss as hex) of every batch that training has met, in order."""

    def watch(self, monkeypatch, at: int | None = None, act=lambda: None, task=AEDTask) -> None:
        """Record from now on, and call `act` in the forward pass of batch `at`, counted from 0."""
        original, seen = task.training_step, self
        self.clear()

        def training_step(task, batch, batch_idx: int):
            if len(seen) == at:
                act()
            out = original(task, batch, batch_idx)
            seen.append((*batch.place, tuple(batch.ids), float(out["loss"].detach()).hex()))
            return out

        monkeypatch.setattr(task, "training_step", training_step)


def seen_in(train, recipe, task, crash_at: int | None = None) -> list:
    """What `Seen` records of a training, or of one that crashes in that batch."""
    seen = Seen()
    with pytest.MonkeyPatch.context() as patch, nullcontext() if crash_at is None else pytest.raises(Crash):
        seen.watch(patch, crash_at, crash, task)
        train(recipe)
    return list(seen)


def log_rows(out: Path) -> list[dict]:
    """What the log says of the losses, without the speed."""
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "audio_s_per_s"} for row in rows]


def last_weights(out: Path) -> bytes:
    return (max((out / "checkpoints").glob("step-*")) / "model.safetensors").read_bytes()
