"""Cached generation of the Transformer TTS beside a loop that runs the decoder over the whole prefix at each step.

    python tests/benchmarks/transformer_tts.py

512 d, 6 + 6 layers and random weights (counted below), 60 phonemes, 500 frames with the stop disabled, encoder and
post-net included, one thread; all settings in turn, medians of CPU time. Both project the cross keys and values once.
The loop has no cache; it is run at every tenth prefix, the ones between counted as long.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch

import re
import time
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from speech.models.transformer_tts import TransformerTTS
from speech.models.tts_generate import generate
from speech.nn.layers import store_by_input
from speech.nn.transformer_tts_config import GenerateOptions, TransformerTTSConfig

ROUNDS, PHONEMES, FRAMES, EVERY = 5, 60, 500, 10
PLAIN = GenerateOptions(stop_threshold=1.0, max_times_expected=1.0)
WINDOWED = GenerateOptions(stop_threshold=1.0, max_times_expected=1.0, window_heads=((-2, -1),))


def build(reduction: int) -> TransformerTTS:
    torch.manual_seed(0)
    model = TransformerTTS(TransformerTTSConfig(reduction=reduction), 80).eval()
    store_by_input(model.decoder)
    return model


def cached(model: TransformerTTS, phonemes: Tensor, options: GenerateOptions) -> Tensor:
    (result,) = generate(model, phonemes, torch.tensor([PHONEMES]), [FRAMES], options)
    assert len(result.mel) == FRAMES and not result.ended
    return result.mel


def inputs(model: TransformerTTS, phonemes: Tensor) -> Tensor:
    """[1, steps, F]: what the cached generation fed back."""
    memory, keep = model.encode(phonemes, torch.tensor([PHONEMES])), model.dropout_keep(FRAMES, 0)
    frame, cache, fed = torch.zeros(1, model.config.mel.n_mels), None, []
    for t in range(FRAMES // model.config.reduction):
        fed.append(frame)
        out = model.decode(frame[:, None], memory, cache, keep[t : t + 1], with_attention=False)
        cache, frame = out.cache, out.mel[:, -1]
    return torch.stack(fed, 1)


def prefix(model: TransformerTTS, phonemes: Tensor, fed: Tensor) -> dict[int, Tensor]:
    """Last frame after each prefix tried."""
    memory, keep = model.encode(phonemes, torch.tensor([PHONEMES])), model.dropout_keep(FRAMES, 0)
    lengths = range(EVERY // 2, fed.size(1) + 1, EVERY)
    return {n: model.decode(fed[:, :n], memory, keep=keep[:n], with_attention=False).mel[:, -1] for n in lengths}


@torch.inference_mode()
def main() -> None:
    torch.set_num_threads(1)
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[1]
    phonemes = torch.randint(80, (1, PHONEMES))
    runs = {}
    for r in (1, 2):
        model = build(r)
        fed = inputs(model, phonemes)
        for n, frame in prefix(model, phonemes, fed).items():
            if n < fed.size(1):
                torch.testing.assert_close(frame, fed[:, n], atol=1e-4, rtol=0)
        runs["cached", r] = (lambda a=(model, phonemes, PLAIN): cached(*a)), 1
        runs["cached, window", r] = (lambda a=(model, phonemes, WINDOWED): cached(*a)), 1
        runs["prefix", r] = (lambda a=(model, phonemes, fed): prefix(*a)), EVERY
    times: dict[tuple, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, (call, factor) in runs.items():
            began = time.process_time()
            call()
            times[name].append(factor * (time.process_time() - began))
    size = sum(p.numel() for p in build(1).parameters()) / 1e6
    print(f"torch {torch.__version__}, {cpu}, one thread, {size:.1f} M parameters\n")
    print("| loop | r | CPU-s | frames per CPU-s | cached is faster by |\n|---|--:|--:|--:|--:|")
    for (loop, r), seconds in times.items():
        faster = median(a / b for a, b in zip(seconds, times["cached", r], strict=True))
        print(f"| {loop} | {r} | {median(seconds):.2f} | {FRAMES / median(seconds):.1f} | {faster:.1f} |")


if __name__ == "__main__":
    main()
