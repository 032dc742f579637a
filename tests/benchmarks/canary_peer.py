"""Encoder and decoder beside those of transformers' Canary, in the shape of canary-180m-flash with random weights.

    python -m venv peer && peer/bin/pip install -e . "transformers>=5.23"
    peer/bin/python tests/benchmarks/canary_peer.py

10 s of features, 40 forced tokens, one thread, in turn, medians of CPU time. The decoder part is the projection of the
memory and 40 steps: theirs with its cache, up to the logits and without `generate`; ours as the search calls it, with
log-probabilities on the host. Theirs has no layer between encoder and decoder of unequal width: ours is left out too.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch

import re
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
import transformers
import yaml
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.models.canary import CanaryConfig, CanaryDecoderConfig, CanaryForConditionalGeneration
from transformers.models.parakeet import ParakeetEncoderConfig
from transformers.models.parakeet.modeling_parakeet import ParakeetEncoderModelOutput

from speech.config import PRESETS
from speech.models.aed import AED, Encoded, count_parameters
from speech.models.step import TorchStep
from speech.nn.config import AEDConfig
from speech.nn.layers import store_by_input
from speech.nn.masks import length_mask

ROUNDS, TOKENS, FRAMES, VOCABULARY, START = 7, 40, 1000, 5248, 7


def build() -> tuple[AED, CanaryForConditionalGeneration]:
    torch.manual_seed(0)
    config = AEDConfig.from_dict(yaml.safe_load((PRESETS / "canary-180m-flash.yaml").read_text())["model"])
    e, d = config.encoder, config.decoder
    encoder = ParakeetEncoderConfig(
        hidden_size=e.d_model,
        num_hidden_layers=e.n_layers,
        num_attention_heads=e.n_heads,
        intermediate_size=e.d_ff,
        conv_kernel_size=e.conv_kernel,
        subsampling_conv_channels=e.subsampling_channels,
        num_mel_bins=config.frontend.n_mels,
        scale_input=False,
    )
    decoder = CanaryDecoderConfig(
        vocab_size=VOCABULARY,
        hidden_size=d.d_model,
        intermediate_size=d.d_ff,
        num_hidden_layers=d.n_layers,
        num_attention_heads=d.n_heads,
        head_dim=d.d_model // d.n_heads,
        max_position_embeddings=d.max_tokens,
    )
    theirs = CanaryForConditionalGeneration(
        CanaryConfig(encoder_config=encoder, decoder_config=decoder, vocab_size=VOCABULARY)
    )
    ours = AED(config, VOCABULARY).eval()
    assert count_parameters(ours.encoder) == count_parameters(theirs.model.encoder)
    assert count_parameters(ours.decoder) == count_parameters(theirs.model.decoder) + VOCABULARY  # the head's bias
    store_by_input(ours.decoder)
    return ours, theirs.eval()


def our_steps(model: AED, source: torch.Tensor, tokens: np.ndarray) -> None:
    n = len(source)
    lengths = torch.full((n,), source.size(1))
    memory = model.decoder.project_memory(source)
    step = TorchStep(model, Encoded(source, lengths, memory, length_mask(lengths, source.size(1))))
    _, state = step.first(np.full((n, 1), START))
    for new in tokens[1:]:
        _, state = step(new, np.arange(n), state)


def their_steps(model: CanaryForConditionalGeneration, source: torch.Tensor, tokens: np.ndarray) -> None:
    config = model.config.decoder_config
    cache = EncoderDecoderCache(DynamicCache(config=config), DynamicCache(config=config))
    encoded = ParakeetEncoderModelOutput(last_hidden_state=source, attention_mask=None)
    for new in tokens:
        ids = torch.from_numpy(new)[:, None]
        cache = model(decoder_input_ids=ids, encoder_outputs=encoded, cache=cache, use_cache=True).cache
    assert cache.get_seq_length() == len(tokens)


@torch.inference_mode()
def main() -> None:
    torch.set_num_threads(1)
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[1]
    ours, theirs = build()
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, {cpu}, one thread\n")
    print("| part | batch | ours, s | transformers, s | ratio |\n|---|--:|--:|--:|--:|")
    for batch in (1, 8):
        features, lengths = torch.randn(batch, FRAMES, ours.config.frontend.n_mels), torch.full((batch,), FRAMES)
        seen = torch.ones(batch, FRAMES, dtype=torch.bool)
        frames = ours.encoder(features, lengths)[0].size(1)
        assert theirs.model.encoder(features, attention_mask=seen).last_hidden_state.size(1) == frames
        source = torch.randn(batch, frames, ours.config.decoder.d_model)
        tokens = np.random.default_rng(0).integers(5, VOCABULARY, (TOKENS, batch))
        parts: dict[str, tuple[Callable, Callable]] = {
            "encoder": (
                lambda a=(features, lengths): ours.encoder(*a),
                lambda a=features, seen=seen: theirs.model.encoder(a, attention_mask=seen),
            ),
            "decoder": (
                lambda a=(source, tokens): our_steps(ours, *a),
                lambda a=(source, tokens): their_steps(theirs, *a),
            ),
        }
        for part, runs in parts.items():
            times: list[tuple[float, ...]] = []
            for _ in range(ROUNDS + 1):  # the first warms up
                row = []
                for call in runs:
                    began = time.process_time()
                    call()
                    row.append(time.process_time() - began)
                times.append(tuple(row))
            a, b = (median(column) for column in zip(*times[1:], strict=True))
            ratio = median(y / x for x, y in times[1:])
            print(f"| {part} | {batch} | {a:.3f} | {b:.3f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
