"""The decoder with its cache beside one that projects all keys and values anew in every step, as FireRedASR's code.

    python tests/benchmarks/decoder.py

A model of `base` size with random weights (30 M parameters, 6 decoder layers), with its eight-fold subsampling and with
FireRedASR's four-fold one, 10 s of sound, 40 forced tokens, one thread, in turn, medians. The other one keeps the
inputs of every layer, runs each layer on the last position only, and projects the keys and values of all positions and
of the encoder's output again.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch

import itertools
import re
import time
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from speech.config import PRESETS
from speech.models.aed import AED, Encoded
from speech.nn.config import AEDConfig

ROUNDS, TOKENS, SECONDS, VOCABULARY = 7, 40, 10, 1024


def cached(model: AED, e: Encoded, tokens: Tensor) -> Tensor:
    """[B, U] -> logits [B, U, V], a token a step."""
    out, cache = [], None
    memory = model.decoder.project_memory(model.enc_proj(e.encoded))
    for t in range(tokens.size(1)):
        step = model.decoder(tokens[:, t : t + 1], memory, e.mask, cache)
        cache = step.cache
        out.append(step.logits)
    return torch.cat(out, 1)


def projecting(model: AED, e: Encoded, tokens: Tensor) -> Tensor:
    decoder, out = model.decoder, []
    source = model.enc_proj(e.encoded)
    inputs: list[Tensor | None] = [None] * len(decoder.layers)
    for t in range(tokens.size(1)):
        x = decoder._embed(tokens[:, t : t + 1], t)
        for i, layer in enumerate(decoder.layers):
            before = inputs[i]
            inputs[i] = x if before is None else torch.cat([before, x], 1)
            normed = layer.self_norm(inputs[i])
            x = x + layer.attn(normed[:, -1:], layer.attn.project_kv(normed))
            x = x + layer.cross(layer.cross_norm(x), layer.cross.project_kv(source), e.mask)
            x = x + layer.ff(x)
        out.append(torch.nn.functional.linear(decoder.norm(x), decoder.embed.weight, decoder.head_bias))
    return torch.cat(out, 1)


@torch.inference_mode()
def main() -> None:
    import yaml

    torch.set_num_threads(1)
    torch.manual_seed(0)
    values = yaml.safe_load((PRESETS / "base.yaml").read_text())["model"]
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[1]
    print(f"torch {torch.__version__}, {cpu}, one thread\n")
    print("| frames | batch | cached, s | projecting, s | ratio | encoder, s |\n|--:|--:|--:|--:|--:|--:|")
    for subsampling, batch in itertools.product(("dw8", "conv4"), (1, 8)):
        config = AEDConfig.from_dict(values)
        config.encoder.subsampling, config.encoder.subsampling_channels = subsampling, 64
        model = AED(config, VOCABULARY).eval()
        waveforms = 0.1 * torch.randn(batch, SECONDS * 16000)
        lengths = torch.full((batch,), SECONDS * 16000)
        tokens = torch.randint(5, VOCABULARY, (batch, TOKENS))
        e = model.encode(waveforms, lengths)
        torch.testing.assert_close(cached(model, e, tokens), projecting(model, e, tokens), rtol=0, atol=1e-4)
        times: dict[str, list[float]] = {"cached": [], "projecting": [], "encoder": []}
        runs = {
            "cached": lambda m=model, e=e, tokens=tokens: cached(m, e, tokens),
            "projecting": lambda m=model, e=e, tokens=tokens: projecting(m, e, tokens),
            "encoder": lambda m=model, waveforms=waveforms, lengths=lengths: m.encode(waveforms, lengths),
        }
        for _ in range(ROUNDS):
            for name, call in runs.items():
                began = time.process_time()
                call()
                times[name].append(time.process_time() - began)
        a, b, c = (median(times[name]) for name in ("cached", "projecting", "encoder"))
        ratio = median(y / x for x, y in zip(times["cached"], times["projecting"], strict=True))
        print(f"| {e.encoded.size(1)} | {batch} | {a:.3f} | {b:.3f} | {ratio:.1f} | {c:.3f} |")


if __name__ == "__main__":
    main()
