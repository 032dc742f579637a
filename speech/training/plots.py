"""Pictures of a run."""

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


def plot_curves(log: Path, picture: Path) -> None:
    """Losses of training and dev, and what is measured on dev alone, from the JSONL log."""
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    train, dev = [r for r in rows if "loss" in r], [r for r in rows if any(k.startswith("dev_") for k in r)]
    keys = [k.removeprefix("dev_") for k in (dev[0] if dev else {}) if k.startswith("dev_")]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
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
    plt.close(figure)
