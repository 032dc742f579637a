"""Pictures of a run."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure


def plot_curves(log: Path, picture: Path) -> None:
    """Losses of training and dev, and what is measured on dev alone, from the JSONL log."""
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    train, dev = [r for r in rows if "loss" in r], [r for r in rows if any(k.startswith("dev_") for k in r)]
    keys = [k.removeprefix("dev_") for k in (dev[0] if dev else {}) if k.startswith("dev_")]
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for key in keys:
        both = bool(train) and key in train[0]
        axes = left if both else right
        if both:
            left.plot([r["step"] for r in train], [r[key] for r in train], label=f"train {key}")
        axes.plot([r["step"] for r in dev], [r[f"dev_{key}"] for r in dev], "o-", markersize=3, label=f"dev {key}")
    left.set(xlabel="step", ylabel="loss", yscale="log")
    right.set(xlabel="step", ylabel="on dev", ylim=(0, None))
    for axes in (left, right):
        if axes.lines:
            axes.legend()
    figure.savefig(picture, dpi=110)


def plot_alignment(
    path: Path,
    attention: np.ndarray,
    phonemes: Sequence[str],
    mel: np.ndarray | None = None,
    durations: np.ndarray | None = None,
    title: str = "",
) -> None:
    """Attention [T, N] of T frames on N phonemes, over it the path of durations [N] and beside it the mel [T, F]."""
    frames, n = attention.shape
    heights = [3.0] * (mel is not None) + [max(3.0, 0.1 * n)]
    figure = Figure(figsize=(9, sum(heights) + 1), layout="constrained")
    axes = figure.subplots(len(heights), 1, height_ratios=heights, sharex=True, squeeze=False)
    last = axes[-1, 0]
    last.imshow(attention.T, aspect="auto", origin="lower", interpolation="none", vmin=0.0)
    if durations is not None:
        hard = np.repeat(np.arange(n), durations)
        last.step(np.arange(len(hard)), hard, where="mid", color="red", linewidth=0.8)
    last.set_yticks(range(n), phonemes, fontsize=6)
    last.set(xlabel="frame", xlim=(-0.5, frames - 0.5), ylim=(-0.5, n - 0.5))
    if mel is not None:
        axes[0, 0].imshow(mel.T, aspect="auto", origin="lower", interpolation="none")
        axes[0, 0].set_ylabel("mel")
    axes[0, 0].set_title(title)
    figure.savefig(path, dpi=110)
