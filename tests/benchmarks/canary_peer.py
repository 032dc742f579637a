"""Encoder and decoder beside those of transformers' Canary, in the shape of canary-180m-flash with random weights.

    python -m venv peer && peer/bin/pip install -e . "transformers>=5.23"
    peer/bin/python tests/benchmarks/canary_peer.py

10 s of features, 40 forced tokens, one thread, in turn, medians of CPU time. The decoder part is the projection of the
memory and 40 steps: theirs with its cache, up to the logits and without `generate`; ours as the search calls it, with
log-probabilities on the host. Theirs has no layer between encoder and decoder of unequal width: ours is left out too,
but not of the exported encoder, which also reads waveforms and projects the memory: more work than theirs.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch

from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime as ort
import torch
import transformers
import yaml
from decoder import by_graph, cpu_name, graphs, ratio, walk
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.models.canary import CanaryConfig, CanaryDecoderConfig, CanaryForConditionalGeneration
from transformers.models.parakeet import ParakeetEncoderConfig
from transformers.models.parakeet.modeling_parakeet import ParakeetEncoderModelOutput
from turns import cpu_seconds

from export.aed import save_encoder
from serve.sessions import CPU, Session
from serve.step import Decoder
from speech.config import PRESETS
from speech.models.aed import AED, Encoded, count_parameters
from speech.models.step import TorchStep
from speech.nn.config import AEDConfig
from speech.nn.layers import store_by_input
from speech.nn.masks import length_mask

ROUNDS, TOKENS, SECONDS, RATE, VOCABULARY = 7, 40, 10, 16000, 5248


def build() -> tuple[AED, CanaryForConditionalGeneration, Decoder]:
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
    steps = graphs(ours)["exported"]
    store_by_input(ours.decoder)
    return ours, theirs.eval(), steps


def by_torch(model: AED, source: torch.Tensor) -> TorchStep:
    lengths = all_of(source)
    memory = model.decoder.project_memory(source)
    return TorchStep(model, Encoded(source, lengths, memory, length_mask(lengths, source.size(1))))


def all_of(source: torch.Tensor) -> torch.Tensor:
    return torch.full((len(source),), source.size(1))


def their_steps(model: CanaryForConditionalGeneration, source: torch.Tensor, tokens: np.ndarray) -> None:
    config = model.config.decoder_config
    cache = EncoderDecoderCache(DynamicCache(config=config), DynamicCache(config=config))
    encoded = ParakeetEncoderModelOutput(last_hidden_state=source, attention_mask=None)
    for new in tokens:
        ids = torch.from_numpy(new)[:, None]
        cache = model(decoder_input_ids=ids, encoder_outputs=encoded, cache=cache, use_cache=True).cache
    assert cache.get_seq_length() == len(tokens)


@torch.inference_mode(False)
def encoder_graph(model: AED) -> Session:
    with TemporaryDirectory() as folder:
        save_encoder(model, Path(folder, "encoder.onnx"))
        return Session(Path(folder, "encoder.onnx"), CPU, 1)


@torch.inference_mode()
def main() -> None:
    torch.set_num_threads(1)
    ours, theirs, decoder_steps = build()
    encoder = encoder_graph(ours)
    versions = f"torch {torch.__version__}, onnxruntime {ort.__version__}, transformers {transformers.__version__}"
    print(f"{versions}, {cpu_name()}, one thread\n")
    print("| part | batch | transformers, s | torch, s | ratio | exported, s | ratio |\n|---" + "|--:" * 6 + "|")
    steps = {}
    for batch in (1, 8):
        waveforms, lengths = 0.1 * torch.randn(batch, RATE * SECONDS), torch.full((batch,), RATE * SECONDS)
        features, frames = ours.frontend(waveforms, lengths)
        seen = torch.ones(features.shape[:2], dtype=torch.bool)
        width = ours.encoder(features, frames)[0].size(1)
        assert theirs.model.encoder(features, attention_mask=seen).last_hidden_state.size(1) == width
        source = torch.randn(batch, width, ours.config.decoder.d_model)
        tokens = np.random.default_rng(0).integers(5, VOCABULARY, (TOKENS, batch))
        sound = {"waveforms": waveforms.numpy(), "lengths": lengths.numpy()}
        path = batch, tokens[1:], np.tile(np.arange(batch), (TOKENS - 1, 1))
        runs: dict[tuple[str, str], Callable] = {
            ("encoder", "transformers"): lambda a=features, seen=seen: theirs.model.encoder(a, attention_mask=seen),
            ("encoder", "torch"): lambda a=(features, frames): ours.encoder(*a),
            ("encoder", "exported"): lambda a=sound: encoder.run(a),
            ("decoder", "transformers"): lambda a=(source, tokens): their_steps(theirs, *a),
            ("decoder", "torch"): lambda a=source, path=path: walk(by_torch(ours, a), *path),
            ("decoder", "exported"): lambda a=source, path=path: walk(
                by_graph(decoder_steps, ours.decoder.project_memory(a), all_of(a)), *path
            ),
            ("decoder", "memory"): lambda a=source: ours.decoder.project_memory(a),
        }
        times = cpu_seconds(runs, ROUNDS)
        for part in ("encoder", "decoder"):
            slow, *fast = (times[part, name] for name in ("transformers", "torch", "exported"))
            columns = [f"{median(x):.3f} | {ratio(slow, x):.2f}" for x in fast]
            print(f"| {part} | {batch} | {median(slow):.3f} | {' | '.join(columns)} |", flush=True)
        for name in ("torch", "exported"):
            steps[name, batch] = median(times["decoder", name]) - median(times["decoder", "memory"])
    eight = (f"{name} {steps[name, 8] / steps[name, 1]:.2f}" for name in ("torch", "exported"))
    print(f"\nA step of eight beside a step of one, without the memory's projection: {', '.join(eight)}")


if __name__ == "__main__":
    main()
