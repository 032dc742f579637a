"""Pictures of a run."""

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


def plot_curves(log: Path, picture: Path) -> None:
    """Loss curves of training and dev, and dev token error, from the JSONL log."""
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    train, dev = [r for r in rows if "loss" in r], [r for r in rows if "dev_attention" in r]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for key in ("attention", "ctc"):
        left.plot([r["step"] for r in train], [r[key] for r in train], label=f"train {key}")
        left.plot([r["step"] for r in dev], [r[f"dev_{key}"] for r in dev], "o-", markersize=3, label=f"dev {key}")
    left.set(xlabel="step", ylabel="loss per token", yscale="log")
    left.legend()
    right.plot([r["step"] for r in dev], [100 * r["dev_error"] for r in dev], "o-", markersize=3, label="dev")
    right.set(xlabel="step", ylabel="token error, teacher forcing (%)", ylim=(0, None))
    right.legend()
    figure.savefig(picture, dpi=110)
    plt.close(figure)
