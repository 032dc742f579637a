"""Speed when layers move from the decoder to the encoder and the number of parameters stays (arXiv 2503.05931).

    python tests/benchmarks/shift.py

Random weights, 10 s of sound, 40 forced tokens, one thread; all shapes in turn, medians of CPU time from waveforms to
the scores of the last step. The width of the encoder's feed-forward layers makes up the rest, so that all shapes of a
family are equal within 1 %. `base` is the preset; `deep` has the 24 + 24 layers of canary-1b at a quarter of its width.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch

from statistics import median

import torch
import yaml
from decoder import SECONDS, VOCABULARY, cached, cpu_name, forced, walk
from turns import cpu_seconds

from speech.config import PRESETS
from speech.models.aed import AED, count_parameters
from speech.nn.config import AEDConfig
from speech.nn.layers import store_by_input

ROUNDS = 5
FAMILIES = {"base": [(12, 6), (13, 4), (14, 2)], "deep": [(24, 24), (29, 16), (33, 8), (36, 4), (37, 2)]}


def build(family: str, encoder_layers: int, decoder_layers: int) -> AED:
    """The family's first shape, or another one with as many parameters."""
    config = AEDConfig.from_dict(yaml.safe_load((PRESETS / "base.yaml").read_text())["model"])
    if family == "deep":
        config.encoder.d_ff = 1024
    torch.manual_seed(0)
    config.encoder.n_layers, config.decoder.n_layers = FAMILIES[family][0]
    wanted = count_parameters(AED(config, VOCABULARY))
    config.encoder.n_layers, config.decoder.n_layers = encoder_layers, decoder_layers
    excess = count_parameters(AED(config, VOCABULARY)) - wanted
    one = 4 * config.encoder.d_model * encoder_layers  # parameters of one more inner feature in both layers of a block
    config.encoder.d_ff -= 8 * round(excess / one / 8)
    model = AED(config, VOCABULARY).eval()
    assert abs(count_parameters(model) / wanted - 1) < 0.01
    store_by_input(model.decoder)
    return model


@torch.inference_mode()
def main() -> None:
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {cpu_name()}, one thread\n")
    print(
        "| family | encoder + decoder layers | feed-forward | parameters | batch "
        "| encoder, s | decoder, s | RTFx | beside the first |"
    )
    print("|---|---|--:|--:|--:|--:|--:|--:|--:|")
    for family, shapes in FAMILIES.items():
        models = {shape: build(family, *shape) for shape in shapes}
        for batch in (1, 8):
            waveforms, lengths = 0.1 * torch.randn(batch, SECONDS * 16000), torch.full((batch,), SECONDS * 16000)
            path = batch, *forced(batch, 1)
            runs = {}
            for shape, model in models.items():
                e = model.encode(waveforms, lengths)
                runs[shape, "encoder"] = lambda m=model, a=(waveforms, lengths): m.encoder(*m.frontend(*a))
                runs[shape, "decoder"] = lambda a=(model, e), path=path: walk(cached(*a), *path)
            times = cpu_seconds(runs, ROUNDS)
            seconds = {s: [sum(t) for t in zip(times[s, "encoder"], times[s, "decoder"], strict=True)] for s in shapes}
            for shape, model in models.items():
                speedup = median(a / b for a, b in zip(seconds[shapes[0]], seconds[shape], strict=True))
                print(
                    f"| {family} | {shape[0]} + {shape[1]} | {model.config.encoder.d_ff} "
                    f"| {count_parameters(model) / 1e6:.1f} M | {batch} | {median(times[shape, 'encoder']):.3f} "
                    f"| {median(times[shape, 'decoder']):.3f} | {batch * SECONDS / median(seconds[shape]):.0f} "
                    f"| {speedup:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
