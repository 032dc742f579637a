"""Mel frames per CPU second of FastSpeech, predictors included.

    python tests/benchmarks/fastspeech.py

The paper's size (d 384, 2 heads, 6 + 6 blocks, 1536 filters) with kernels 3 3 and 9 1, float32, random weights, 60
phonemes to 500 frames by given durations, one thread; medians and bests of CPU time, all in turn. Beside them the
rate of a plain matrix product on the same core: what the model's operations would take at that rate is the limit.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch

import re
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from turns import cpu_seconds

from speech.models.aed import count_parameters
from speech.models.fastspeech import FastSpeech
from speech.nn.tts_config import FastSpeechConfig

ROUNDS, PHONEMES, FRAMES, SYMBOLS = 21, 60, 500, 51
KERNELS = [(3, 3), (9, 1)]


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Phonemes [1, N], their number [1] and durations [1, N]."""
    durations = torch.full((1, PHONEMES), FRAMES // PHONEMES)
    durations[0, : FRAMES % PHONEMES] += 1
    return torch.randint(0, SYMBOLS, (1, PHONEMES)), torch.tensor([PHONEMES]), durations


@torch.inference_mode()
def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[1]
    print(f"torch {torch.__version__}, {cpu}, one thread, {PHONEMES} phonemes, {FRAMES} frames\n")
    models = {kernels: FastSpeech(FastSpeechConfig(kernels=kernels), SYMBOLS).eval() for kernels in KERNELS}
    phonemes, lengths, durations = inputs()
    square = torch.randn(1024, 1024)
    runs = {kernels: lambda m=model: m(phonemes, lengths, durations) for kernels, model in models.items()}
    runs["product"] = lambda: [square @ square for _ in range(10)]
    times = cpu_seconds(runs, ROUNDS)
    rate = 10 * 2 * 1024**3 / median(times["product"])  # operations a second
    print("| kernels | M parameters | CPU s | frames per CPU s | best | limit | limit reached |\n" + "|--:" * 7 + "|")
    for kernels, model in models.items():
        with FlopCounterMode(display=False) as counter:
            model(phonemes, lengths, durations)
        limit, found = FRAMES * rate / counter.get_total_flops(), FRAMES / median(times[kernels])
        print(
            f"| {kernels[0]}, {kernels[1]} | {count_parameters(model) / 1e6:.1f} | {median(times[kernels]):.3f} "
            f"| {found:.0f} | {FRAMES / min(times[kernels]):.0f} | {limit:.0f} | {found / limit:.0%} |"
        )
    print(f"\nmatrix product: {rate / 1e9:.0f} G operations a second")


if __name__ == "__main__":
    main()
