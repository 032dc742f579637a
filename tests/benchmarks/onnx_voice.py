"""Speed of an exported voice beside torch: a small FastSpeech with its vocoder, random weights.

    python tests/benchmarks/onnx_voice.py

d 192, 3 + 3 blocks, 768 filters of widths 9 and 1, pitch; Vocos of d 192 with 6 blocks; 60 phonemes to 500 frames by
given durations, one thread; medians of CPU seconds, all in turn, and what 8 bits do to the waveform.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch

from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch
from turns import cpu_seconds

from export.quantize import quantize
from export.voice import save_fastspeech
from serve.sessions import CPU, Session
from speech.models.fastspeech import FastSpeech
from speech.models.vocos import Vocos
from speech.nn.mel_config import MelConfig, VocosConfig
from speech.nn.tts_config import FastSpeechConfig

ROUNDS, PHONEMES, FRAMES = 15, 60, 500


@torch.inference_mode()
def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    mel = MelConfig()
    config = FastSpeechConfig(mel, 192, 2, 3, 3, 768, (9, 1), predictor_filters=192, pitch=True)
    model, vocoder = FastSpeech(config, 60).eval(), Vocos(VocosConfig(mel, 192, 6, 576)).eval()
    given = np.full((1, PHONEMES), FRAMES // PHONEMES)
    given[0, : FRAMES % PHONEMES] += 1
    inputs = {
        "phonemes": np.random.default_rng(0).integers(4, 60, (1, PHONEMES)),
        "lengths": np.array([PHONEMES]),
        "length_scale": np.ones((1, 1), np.float32),
        "duration_scale": np.ones((1, PHONEMES), np.float32),
        "given_durations": given,
        "pitch_scale": np.ones((1, 1), np.float32),
    }

    def by_torch() -> np.ndarray:
        ids, lengths, durations = (torch.from_numpy(inputs[n]) for n in ("phonemes", "lengths", "given_durations"))
        out = model.synthesize(ids, lengths, given_durations=durations)
        return vocoder(model.denormalize(out.mel)).numpy()

    with TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"voice{name}.onnx" for name in ("", ".int8")}
        save_fastspeech(model, vocoder, torch.float32, Path(folder), "")
        quantize(paths[""], paths[".int8"])
        sessions = {name: Session(path, CPU, 1) for name, path in paths.items()}
        sizes = {name: path.stat().st_size / 1e6 for name, path in paths.items()}
    runs = {"torch": by_torch}
    for name, session in sessions.items():
        runs[f"onnx{name}"] = lambda s=session: s.run(inputs, ("waveforms",))["waveforms"]
    truth = by_torch()
    times = cpu_seconds(runs, ROUNDS)
    print("| engine | CPU s for a second of audio | error, dB of the waveform |\n|---|--:|--:|")
    for name, run in runs.items():
        error = 10 * np.log10(max(1e-20, np.mean((run() - truth) ** 2) / np.mean(truth**2)))
        print(f"| {name} | {median(times[name]) / (FRAMES * mel.hop / mel.sample_rate):.4f} | {error:.0f} |")
    print(f"\nMB: {', '.join(f'{size:.1f}' for size in sizes.values())}")


if __name__ == "__main__":
    main()
