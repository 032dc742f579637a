"""The decoder's steps beside steps that project all keys and values anew, as FireRedASR's public code does.

    python tests/benchmarks/decoder.py

A model of `base` size with random weights (30 M parameters, 6 decoder layers), with FireRedASR's four-fold subsampling
(250 frames; its code's own beam is 3) and with our eight-fold one, 10 s of sound, 40 forced tokens, one thread; all
settings in turn, medians of CPU time. Ours is the whole step of the search: memory projected once, caches reordered
(beams swap places at every step), scores on the host; by torch, exported, by onnxruntime, and so with weights of 8
bits. The other one keeps the inputs of every layer, runs each layer on the last position only, and projects the keys
and values of all positions and of the encoder's output again, for each beam.

Greedy search of one utterance is also timed as the exported models do it that have a CTC head: with a draft. Here it is
made up, the forced tokens with 12 % of them replaced, as many as are wrong in the drafts of the digits model, and the
other one has none: what a draft is worth on recordings is for onnx_speculation.py to say.
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
from export.quantize import quantize
from serve.sessions import CPU, Session
from serve.step import Decoder, Step
from speech.config import PRESETS
from speech.models.aed import AED, Encoded
from speech.models.step import TorchStep
from speech.nn.config import AEDConfig
from speech.nn.layers import store_by_input
from speech.search.ctc_prefix import ctc_greedy
from speech.search.speculative import Speculative

ROUNDS, TOKENS, SECONDS, VOCABULARY, START = 7, 40, 10, 1024, 3
SETTINGS = [(1, 3), (8, 3), (1, 1), (8, 1)]  # batch, beams
EXPORTED = ("exported", "8 bits")
WRONG = 0.12  # of a draft's tokens


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
    model: AED,
    decoder: Decoder,
    source: Tensor,
    lengths: Tensor,
    tokens: np.ndarray,
    parents: np.ndarray,
    draft: list[int] | None = None,
) -> np.ndarray:
    """The same by the graphs; the memory's projection by torch, as the encoder's graph would do it."""
    pairs = model.decoder.project_memory(source)
    values = [decoder.decoder.value(x.numpy()) for x in flat_pairs(pairs)]
    step = Step(decoder, dict(zip(cache_names("cross", len(pairs)), values, strict=True)), lengths.numpy())
    search = step if draft is None else Speculative(step, draft, TOKENS)
    scores, state = search.first(np.full((len(source), 1), START))
    for new, rows in zip(tokens, parents, strict=True):
        scores, state = search(new, rows, state)
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


def with_draft(model: AED, decoder: Decoder, e: Encoded, tokens: np.ndarray, parents: np.ndarray) -> np.ndarray:
    """The same of one row. Random weights guess nothing: what the CTC head's draft costs, then the forced tokens, some
    of them replaced, in its place."""
    ctc_greedy(model.ctc_log_probs(e.encoded)[0].numpy(), 0)
    rng, draft = np.random.default_rng(1), tokens[:, 0].copy()
    wrong = rng.choice(len(draft), round(WRONG * len(draft)), replace=False)
    draft[wrong] = (draft[wrong] + 1) % VOCABULARY
    return exported(model, decoder, model.enc_proj(e.encoded), e.lengths, tokens, parents, draft.tolist())


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
        "with a draft, ms | ratio | encoder, s |\n" + "|--:" * 13 + "|"
    )
    beside = []
    for subsampling in ("conv4", "dw8"):
        plain, ours = build(subsampling), build(subsampling)
        store_by_input(ours.decoder)
        decoders = graphs(plain)
        runs: dict[tuple, Callable] = {}
        for batch, beams in SETTINGS:
            waveforms, lengths = 0.1 * torch.randn(batch, SECONDS * 16000), torch.full((batch,), SECONDS * 16000)
            e, (tokens, parents) = plain.encode(waveforms, lengths), forced(batch, beams)
            frames = e.encoded.size(1)
            runs[batch, beams, "cached"] = lambda a=(ours, e, tokens, parents): cached(*a)
            source = plain.enc_proj(e.encoded)
            for name, decoder in decoders.items():
                given = plain, decoder, source, e.lengths, tokens, parents
                runs[batch, beams, name] = lambda a=given: exported(*a)
            if batch * beams == 1:
                given = plain, decoders["exported"], e, tokens, parents
                runs[batch, beams, "drafted"] = lambda a=given: with_draft(*a)
            runs[batch, beams, "projecting"] = lambda a=(plain, e, tokens, parents): projecting(*a)
            runs[batch, beams, "encoder"] = lambda a=(plain, waveforms, lengths): a[0].encode(*a[1:])
            truth = runs[batch, beams, "projecting"]()
            for name, off in (("cached", 1e-4), ("exported", 1e-4), ("drafted", 1e-4), ("8 bits", 0.1)):
                if (batch, beams, name) in runs:
                    np.testing.assert_allclose(runs[batch, beams, name](), truth, rtol=0, atol=off)
        times = cpu_seconds(runs, ROUNDS)
        for batch, beams in SETTINGS:
            slow, *fast = (times[batch, beams, name] for name in ("projecting", "cached", *EXPORTED))
            steps = [f"{1000 * median(slow) / TOKENS:.1f}"]
            fast.append(times.get((batch, beams, "drafted"), []))
            steps += [f"{1000 * median(x) / TOKENS:.1f} | {ratio(slow, x):.1f}" if x else " | " for x in fast]
            encoder = median(times[batch, beams, "encoder"])
            print(f"| {frames} | {batch} | {beams} | {' | '.join(steps)} | {encoder:.3f} |", flush=True)
        for beams in (1, 3):
            for name in ("cached", *EXPORTED):
                eight = ratio(times[8, beams, name], times[1, beams, name])
                beside.append(f"{eight:.1f} ({name}, {frames} frames, beams {beams})")
    print(f"\nA step of 8 beside a step of 1: {', '.join(beside)}")


if __name__ == "__main__":
    main()
