"""The decoder's steps beside steps that project all keys and values anew, as FireRedASR's public code does.

    python tests/benchmarks/decoder.py

A model of `base` size with random weights (30 M parameters, 6 decoder layers), with its eight-fold subsampling and with
FireRedASR's four-fold one, 10 s of sound, 40 forced tokens, one thread; all settings in turn, medians of CPU time. Ours
is the whole step of the search: memory projected once, caches reordered (beams swap places at every step), scores on
the host; once by torch and once exported, by onnxruntime. The other one keeps the inputs of every layer, runs each
layer on the last position only, and projects the keys and values of all positions and of the encoder's output again,
for each beam.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch

import re
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch
import yaml
from onnx import TensorProto
from torch import Tensor
from turns import cpu_seconds

from export.aed import cache_names, flat_pairs, save_decoder
from export.package import save_gather
from serve.sessions import CPU, Session
from serve.step import Decoder, Step
from speech.config import PRESETS
from speech.models.aed import AED, Encoded
from speech.models.step import TorchStep
from speech.nn.config import AEDConfig
from speech.nn.layers import store_by_input

ROUNDS, TOKENS, SECONDS, VOCABULARY, START = 7, 40, 10, 1024, 3
SETTINGS = [(1, 1), (8, 1), (1, 3), (8, 3)]  # batch, beams


def cpu_name() -> str:
    return re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[1]


def cached(model: AED, e: Encoded, tokens: np.ndarray, parents: np.ndarray) -> np.ndarray:
    """tokens and parents [U - 1, N] -> log-probabilities of the last step [N, V]."""
    memory = model.decoder.project_memory(model.enc_proj(e.encoded))
    step = TorchStep(model, e._replace(memory=memory))
    scores, state = step.first(np.full((len(e.encoded), 1), START))
    for new, rows in zip(tokens, parents, strict=True):
        scores, state = step(new, rows, state)
    return scores.log_probs


def exported(
    model: AED, decoder: Decoder, source: Tensor, lengths: Tensor, tokens: np.ndarray, parents: np.ndarray
) -> np.ndarray:
    """The same by the graphs; the memory's projection by torch, as the encoder's graph would do it."""
    pairs = model.decoder.project_memory(source)
    values = [decoder.decoder.value(x.numpy()) for x in flat_pairs(pairs)]
    step = Step(decoder, dict(zip(cache_names("cross", len(pairs)), values, strict=True)), lengths.numpy())
    scores, state = step.first(np.full((len(source), 1), START))
    for new, rows in zip(tokens, parents, strict=True):
        scores, state = step(new, rows, state)
    return scores.log_probs


def projecting(model: AED, e: Encoded, tokens: np.ndarray, parents: np.ndarray) -> np.ndarray:
    decoder, n = model.decoder, tokens.shape[1]
    rows = torch.from_numpy(np.arange(len(e.encoded)).repeat(n // len(e.encoded)))
    source, mask = model.enc_proj(e.encoded)[rows], e.mask[rows]
    inputs: list[Tensor | None] = [None] * len(decoder.layers)
    log_probs = torch.empty(0)
    for t, new in enumerate([np.full(n, START), *tokens]):
        x = decoder._embed(torch.from_numpy(new)[:, None], t)
        for i, layer in enumerate(decoder.layers):
            before = inputs[i]
            if before is not None:  # the first step has one beam in all rows: its order does not matter
                before = before[torch.from_numpy(parents[t - 1])] if t > 1 else before
            inputs[i] = x if before is None else torch.cat([before, x], 1)
            normed = layer.self_norm(inputs[i])
            x = x + layer.attn(normed[:, -1:], layer.attn.project_kv(normed))
            x = x + layer.cross(layer.cross_norm(x), layer.cross.project_kv(source), mask)
            x = x + layer.ff(x)
        logits = torch.nn.functional.linear(decoder.norm(x[:, -1]), decoder.embed.weight, decoder.head_bias)
        log_probs = logits.log_softmax(-1)
    return log_probs.numpy()


def forced(batch: int, beams: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and parents of every step after the prompt; beams swap places within their utterance."""
    rng, n = np.random.default_rng(0), batch * beams
    inside = rng.permuted(np.tile(np.arange(beams), (TOKENS - 1, batch, 1)), axis=2)
    parents = (np.arange(batch)[:, None] * beams + inside).reshape(TOKENS - 1, n)
    parents[0] = np.arange(batch).repeat(beams)
    return rng.integers(5, VOCABULARY, (TOKENS - 1, n)), parents


@torch.inference_mode(False)
def graphs(model: AED) -> Decoder:
    with TemporaryDirectory() as folder:
        save_decoder(model, Path(folder, "decoder.onnx"))
        save_gather(Path(folder, "gather.onnx"), TensorProto.FLOAT, len(model.decoder.layers))
        return Decoder(*(Session(Path(folder, f"{name}.onnx"), CPU, 1) for name in ("decoder", "gather")))


@torch.inference_mode(False)
def build(subsampling: str) -> AED:
    torch.manual_seed(0)
    config = AEDConfig.from_dict(yaml.safe_load((PRESETS / "base.yaml").read_text())["model"])
    config.encoder.subsampling, config.encoder.subsampling_channels = subsampling, 64
    return AED(config, VOCABULARY).eval()


def ratio(above: list[float], below: list[float]) -> float:
    return median(a / b for a, b in zip(above, below, strict=True))


@torch.inference_mode()
def main() -> None:
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {cpu_name()}, one thread\n")
    print(
        "| frames | batch | beams | projecting, ms | step, ms | ratio | exported step, ms | ratio | decoder, s | "
        "encoder, s |\n" + "|--:" * 10 + "|"
    )
    beside = []
    for subsampling in ("dw8", "conv4"):
        plain, ours = build(subsampling), build(subsampling)
        store_by_input(ours.decoder)
        decoder = graphs(plain)
        runs: dict[tuple, Callable] = {}
        for batch, beams in SETTINGS:
            waveforms, lengths = 0.1 * torch.randn(batch, SECONDS * 16000), torch.full((batch,), SECONDS * 16000)
            e, (tokens, parents) = plain.encode(waveforms, lengths), forced(batch, beams)
            frames = e.encoded.size(1)
            runs[batch, beams, "cached"] = lambda a=(ours, e, tokens, parents): cached(*a)
            source = plain.enc_proj(e.encoded)
            runs[batch, beams, "exported"] = lambda a=(plain, decoder, source, e.lengths, tokens, parents): exported(*a)
            runs[batch, beams, "projecting"] = lambda a=(plain, e, tokens, parents): projecting(*a)
            runs[batch, beams, "encoder"] = lambda a=(plain, waveforms, lengths): a[0].encode(*a[1:])
            same = [runs[batch, beams, name]() for name in ("cached", "exported", "projecting")]
            np.testing.assert_allclose(same[0], same[1], rtol=0, atol=1e-4)
            np.testing.assert_allclose(same[0], same[2], rtol=0, atol=1e-4)
        times = cpu_seconds(runs, ROUNDS)
        for batch, beams in SETTINGS:
            slow, *fast = (times[batch, beams, name] for name in ("projecting", "cached", "exported"))
            steps = [f"{1000 * median(slow) / TOKENS:.1f}"]
            steps += [f"{1000 * median(x) / TOKENS:.1f} | {ratio(slow, x):.1f}" for x in fast]
            whole = f"{median(fast[0]):.3f} | {median(times[batch, beams, 'encoder']):.3f}"
            print(f"| {frames} | {batch} | {beams} | {' | '.join(steps)} | {whole} |")
        for beams in (1, 3):
            for name in ("cached", "exported"):
                eight = ratio(times[8, beams, name], times[1, beams, name])
                beside.append(f"{eight:.1f} ({name}, {frames} frames, beams {beams})")
    print(f"\nA step of 8 beside a step of 1: {', '.join(beside)}")


if __name__ == "__main__":
    main()
