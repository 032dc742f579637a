"""Pictures of the data."""

from pathlib import Path

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from speech.data.bins import Bins
from speech.data.padding import Padding

MOST_DOTS = 20000


def plot_bins(bins: Bins, seconds: np.ndarray, tokens: np.ndarray, by_bin: list[Padding], picture: Path) -> None:
    """Left the cuts [N] and the edges of the bins, right the padding of one epoch by the bin that covers a batch."""
    figure = Figure(figsize=(13, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    dots = np.random.default_rng(0).permutation(len(seconds))[:MOST_DOTS]
    left.plot(seconds[dots], tokens[dots], ".", markersize=2, alpha=0.3, color="tab:blue", rasterized=True)
    lines, begin = [], 0.0
    for edge, row in zip(bins.seconds, bins.tokens, strict=True):
        lines += [[(begin, u), (edge, u)] for u in row] + [[(edge, 0), (edge, row[-1])]]
        begin = edge
    left.add_collection(LineCollection(lines, colors="black", linewidths=0.6))
    left.set(xlabel="seconds", ylabel="tokens with prompt and end", xlim=(0, None), ylim=(0, None))
    left.set_title(f"{len(bins.edges)} bins over {len(seconds)} cuts at their speeds")
    at = np.arange(len(by_bin))
    right.bar(at - 0.2, [100 * p.audio for p in by_bin], 0.4, label="audio")
    right.bar(at + 0.2, [100 * p.tokens for p in by_bin], 0.4, label="tokens")
    right.set(xlabel="bin, by its edges in seconds and tokens", ylabel="padding (%)")
    shown = at[:: -(-len(at) // 10)]
    right.set_xticks(shown, [f"{bins.edges[i][0]:.1f} s\n{bins.edges[i][1]}" for i in shown])
    whole = sum(by_bin, Padding())
    right.set_title(f"one epoch: {whole}")
    right.legend()
    figure.savefig(picture, dpi=110)
