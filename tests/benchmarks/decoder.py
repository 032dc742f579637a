"""The decoder's steps beside steps that project all keys and values anew, as FireRedASR's public code does.

    python tests/benchmarks/decoder.py

A model of `base` size with random weights (30 M parameters, 6 decoder layers), with FireRedASR's four-fold subsampling
(250 frames; its code's own beam is 3) and with our eight-fold one, 10 s of sound, 40 forced tokens, one thread; all
settings in turn, medians of CPU time. Ours is the whole step of the search: memory projected once, caches reordered
(beams swap places at every step), scores on the host; by torch, exported, by onnxruntime, and so with weights of 8
bits. The other one is that of projecting.py. What the runtime does with one row, where the model has a CTC head, is
measured on recordings by onnx_speculation.py.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch
import yaml
from onnx import TensorProto
from projecting import Projecting
from turns import cpu_seconds

from export.aed import cache_names, flat_pairs, save_decoder
from export.package import save_gather
from export.quantize import quantize
from serve.sessions import CPU, Session
from serve.step import Decoder, Step
from speech.config import PRESETS
from speech.models.aed import AED, Encoded
from speech.models.step import TorchStep
from speech.nn.attention import KV
from speech.nn.config import AEDConfig
from speech.nn.layers import store_by_input
from speech.transcriber import FirstStep

ROUNDS, TOKENS, SECONDS, VOCABULARY, START = 7, 40, 10, 1024, 3
SETTINGS = [(1, 3), (8, 3), (1, 1), (8, 1)]  # batch, beams
EXPORTED = ("exported", "8 bits")


def cpu_name() -> str:
    return re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[1]


def walk(step: FirstStep, batch: int, tokens: np.ndarray, parents: np.ndarray) -> np.ndarray:
    """tokens and parents [U - 1, N] -> log-probabilities of all steps [U - 1, N, V], the prompt's excepted."""
    _, state = step.first(np.full((batch, 1), START))
    found = []
    for new, rows in zip(tokens, parents, strict=True):
        scores, state = step(new, rows, state)
        found.append(scores.log_probs)
    return np.stack(found)


def cached(model: AED, e: Encoded) -> FirstStep:
    return TorchStep(model, e._replace(memory=model.decoder.project_memory(model.enc_proj(e.encoded))))


def exported(model: AED, decoder: Decoder, e: Encoded) -> FirstStep:
    """The memory's projection by torch, as the encoder's graph would do it."""
    return by_graph(decoder, model.decoder.project_memory(model.enc_proj(e.encoded)), e.lengths)


def by_graph(decoder: Decoder, memory: list[KV], lengths: torch.Tensor) -> FirstStep:
    values = [decoder.decoder.value(x.numpy()) for x in flat_pairs(memory)]
    return Step(decoder, dict(zip(cache_names("cross", len(memory)), values, strict=True)), lengths.numpy())


def forced(batch: int, beams: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and parents of every step after the prompt; beams swap places within their utterance."""
    rng, n = np.random.default_rng(0), batch * beams
    inside = rng.permuted(np.tile(np.arange(beams), (TOKENS - 1, batch, 1)), axis=2)
    parents = (np.arange(batch)[:, None] * beams + inside).reshape(TOKENS - 1, n)
    parents[0] = np.arange(batch).repeat(beams)
    return rng.integers(5, VOCABULARY, (TOKENS - 1, n)), parents


@torch.inference_mode(False)
def graphs(model: AED) -> dict[str, Decoder]:
    with TemporaryDirectory() as folder:
        plain, small = Path(folder, "decoder.onnx"), Path(folder, "decoder.int8.onnx")
        save_decoder(model, plain)
        quantize(plain, small, by_row=True)
        save_gather(Path(folder, "gather.onnx"), TensorProto.FLOAT, len(model.decoder.layers))
        gather = Session(Path(folder, "gather.onnx"), CPU, 1)
        return {name: Decoder(Session(x, CPU, 1), gather) for name, x in zip(EXPORTED, (plain, small), strict=True)}


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
        "| frames | batch | beams | projecting, ms | torch, ms | ratio | exported, ms | ratio | 8 bits, ms | ratio | "
        "encoder, s |\n" + "|--:" * 11 + "|"
    )
    beside = []
    for subsampling in ("conv4", "dw8"):
        plain, ours = build(subsampling), build(subsampling)
        store_by_input(ours.decoder)
        decoders = graphs(plain)
        runs: dict[tuple, Callable] = {}
        for batch, beams in SETTINGS:
            waveforms, lengths = 0.1 * torch.randn(batch, SECONDS * 16000), torch.full((batch,), SECONDS * 16000)
            e, path = plain.encode(waveforms, lengths), (batch, *forced(batch, beams))
            frames = e.encoded.size(1)
            steps = {"cached": partial(cached, ours, e), "projecting": partial(Projecting, plain, e.encoded)}
            steps |= {name: partial(exported, plain, decoder, e) for name, decoder in decoders.items()}
            found = {}
            for name, make in steps.items():
                run = runs[batch, beams, name] = lambda a=path, make=make: walk(make(), *a)
                found[name] = run()
            for name, off in (("cached", 1e-4), ("exported", 1e-4), ("8 bits", 0.1)):
                np.testing.assert_allclose(found[name], found["projecting"], rtol=0, atol=off)
            runs[batch, beams, "encoder"] = lambda a=(plain, waveforms, lengths): a[0].encode(*a[1:])
        times = cpu_seconds(runs, ROUNDS)
        for batch, beams in SETTINGS:
            slow, *fast = (times[batch, beams, name] for name in ("projecting", "cached", *EXPORTED))
            cells = [f"{1000 * median(slow) / TOKENS:.1f}"]
            cells += [f"{1000 * median(x) / TOKENS:.1f} | {ratio(slow, x):.1f}" for x in fast]
            encoder = median(times[batch, beams, "encoder"])
            print(f"| {frames} | {batch} | {beams} | {' | '.join(cells)} | {encoder:.3f} |", flush=True)
        for beams in (1, 3):
            for name in ("cached", *EXPORTED):
                eight = ratio(times[8, beams, name], times[1, beams, name])
                beside.append(f"{eight:.1f} ({name}, {frames} frames, beams {beams})")
    print(f"\nA step of 8 beside a step of 1: {', '.join(beside)}")


if __name__ == "__main__":
    main()
