"""CPU-seconds of vocoders for a second of sound.

    python tests/benchmarks/vocoder.py

500 frames of 22050 Hz (5.80 s), random weights, one thread, all in turn, medians of CPU time. `export` is the copy
whose inverse transform is a convolution, here in torch.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch

from functools import partial
from statistics import median

import torch
from turns import cpu_seconds

from speech.models.aed import count_parameters
from speech.models.griffin_lim import GriffinLim
from speech.models.vocos import Vocos
from speech.nn.mel_config import MelConfig, VocosConfig

ROUNDS, FRAMES = 9, 500


@torch.inference_mode()
def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    mel = MelConfig()
    seconds = FRAMES * mel.hop / mel.sample_rate
    mels = torch.randn(1, FRAMES, mel.n_mels) - 5
    sizes = {"Vocos 192 x 6": VocosConfig(mel, 192, 6, 576), "Vocos 256 x 8": VocosConfig(mel)}
    sizes["Vocos 512 x 8"] = VocosConfig(mel, 512, 8, 1536)
    vocoders: dict[str, torch.nn.Module] = {}
    for name, config in sizes.items():
        model = Vocos(config).eval()
        vocoders |= {name: model, f"{name} export": model.convolutional()}
    vocoders |= {f"Griffin-Lim {n}": GriffinLim(mel, iterations=n) for n in (32, 60)}
    times = cpu_seconds({name: partial(vocoder, mels) for name, vocoder in vocoders.items()}, ROUNDS)
    for name, vocoder in vocoders.items():
        millions = count_parameters(vocoder) / 1e6
        print(f"{name:<22} {millions:5.1f} M parameters  {median(times[name]) / seconds:.4f} CPU-s per second of sound")


if __name__ == "__main__":
    main()
