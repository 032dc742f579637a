"""How fast one core turns FLAC files into padded batches of fbank, ours beside Lhotse's, and its parts alone.

    python tests/benchmarks/loading.py

Audio seconds per CPU second (all threads, one is used), the median of rounds in which all take turns, files in the page
cache. The speech is that of $SPEECH_CORPORA/en_commonvoice1_test, else shaped noise. Prints a markdown table.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy and torch

import argparse
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np
import soundfile as sf
import torch
from lhotse import CutSet, Fbank, FbankConfig, MonoCut, Recording, SupervisionSegment
from lhotse.dataset import K2SpeechRecognitionDataset, OnTheFlyFeatures, SimpleCutSampler
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from speech.audio.decode import decode
from speech.audio.resample import resample
from speech.data.asr import ASRStream
from speech.data.config import DataConfig
from speech.data.corpus import read_corpus
from speech.data.manifests import save_manifest
from speech.nn.config import FrontendConfig
from speech.nn.frontend import Frontend
from speech.text.tokenizer import Tokenizer

RATE, SECONDS = 16000, 10
TEXT = "ten seconds of speech"
KALDI = FrontendConfig(kind="kaldi", sample_rate=RATE, n_mels=80, wave_scale=32768, low_hz=20, norm="none")


def speech(count: int) -> tuple[str, np.ndarray]:
    """Where it comes from, and [count, samples]."""
    needed = count * SECONDS * RATE
    corpora = os.environ.get("SPEECH_CORPORA")
    if corpora is None:
        # noise that falls by 6 dB an octave and swells four times a second packs like speech
        noise = np.fft.rfft(np.random.default_rng(0).standard_normal(needed))
        x = np.fft.irfft(noise / (1 + np.arange(len(noise)) * RATE / needed / 100), needed)
        x *= 0.05 / x.std() * (1 + np.sin(np.arange(needed) * (2 * np.pi * 4 / RATE)))
        return "shaped noise", x.reshape(count, -1).astype(np.float32)
    parts, have = [], 0
    for path in sorted((Path(corpora) / "en_commonvoice1_test" / "audio").iterdir()):
        parts.append(decode(path, RATE))
        have += len(parts[-1])
        if have >= needed:
            return "Common Voice", np.concatenate(parts)[:needed].reshape(count, -1)
    raise SystemExit(f"en_commonvoice1_test has {have / RATE:.0f} s of speech: lower --files")


def write(folder: Path, waves: np.ndarray) -> Path:
    """FLAC files and their manifest."""
    cuts = []
    for i, wave in enumerate(waves):
        name = f"cut{i:04d}"
        sf.write(folder / f"{name}.flac", wave, RATE, subtype="PCM_16")
        recording = Recording.from_file(folder / f"{name}.flac", recording_id=name)
        said = SupervisionSegment(name, name, 0.0, SECONDS, text=TEXT)
        cuts.append(MonoCut(name, 0.0, SECONDS, 0, recording=recording, supervisions=[said]))
    save_manifest(cuts, folder / "cuts.jsonl")
    return folder / "cuts.jsonl"


def ours(manifest: Path, batch: int, frontend: Frontend) -> Callable[[], None]:
    tokenizer = Tokenizer.train([TEXT], manifest.with_name("tokenizer.model"), 40, byte_fallback=False)
    config = DataConfig(batch_seconds=batch * SECONDS, quadratic_seconds=0.0, workers=0)
    stream = ASRStream(read_corpus(manifest, tokenizer, config, 64), config, RATE, 0, None)

    def run() -> None:
        for loaded in stream:
            features, _ = frontend(loaded.waveforms, loaded.waveform_lengths)
            assert features.shape == (batch, 998, 80) and not loaded.lost

    return run


def lhotses(cuts: CutSet, batch: int, fbank: Fbank) -> Callable[[], None]:
    dataset = K2SpeechRecognitionDataset(input_strategy=OnTheFlyFeatures(fbank))

    def run() -> None:
        sampler = SimpleCutSampler(cuts, max_cuts=batch, shuffle=False)
        for loaded in DataLoader(dataset, sampler=sampler, batch_size=None, num_workers=0):
            assert loaded["inputs"].shape == (batch, 1000, 80)

    return run


def measure(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median CPU seconds of each; in turns, so that other load on the machine meets all of them."""
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(rounds + 1):  # the first warms caches
        for name, run in runs.items():
            begin = time.process_time()
            run()
            if i:
                spent[name].append(time.process_time() - begin)
    return {name: median(times) for name, times in spent.items()}


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown CPU")


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100, help="of 10 s each; a multiple of --batch")
    parser.add_argument("--batch", type=int, default=20, help="files in a batch")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    if args.files % args.batch or args.rounds < 5:
        parser.error("--files must be a multiple of --batch, and --rounds 5 or more")
    torch.set_num_threads(1)
    source, waves = speech(args.files)
    with tempfile.TemporaryDirectory() as folder:
        manifest = write(Path(folder), waves)
        paths = sorted(Path(folder).glob("*.flac"))
        cuts = CutSet.from_file(manifest).to_eager()
        frontend, fbank = Frontend(KALDI), Fbank(FbankConfig(num_mel_bins=80))
        wide = [resample(wave, RATE, 48000) for wave in waves]
        tensors = [torch.from_numpy(wave) for wave in waves]
        batches = [tensors[i : i + args.batch] for i in range(0, len(tensors), args.batch)]
        padded = [pad_sequence(batch, batch_first=True) for batch in batches]
        lengths = torch.full((args.batch,), SECONDS * RATE)
        runs = {
            "decode": lambda: [decode(path, RATE) for path in paths],
            "resample 48 -> 16 kHz": lambda: [resample(x, 48000, RATE) for x in wide],
            "features (Frontend, kaldi, 80 mels)": lambda: [frontend(x, lengths) for x in padded],
            "collate": lambda: [pad_sequence(batch, batch_first=True) for batch in batches],
            "**FLAC to padded fbank (ASRStream)**": ours(manifest, args.batch, frontend),
            "Lhotse: decode": lambda: [cut.load_audio() for cut in cuts],
            "Lhotse: features (Fbank)": lambda: [fbank.extract_batch(batch, RATE) for batch in batches],
            "**Lhotse: FLAC to padded fbank**": lhotses(cuts, args.batch, fbank),
        }
        spent = measure(runs, args.rounds)
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "lhotse", "soundfile", "soxr", "numpy"))
    print(f"{processor()}, one thread; {packages}")
    print(f"{args.files} files of {SECONDS} s ({source}, FLAC, {RATE} Hz), batches of {args.batch}\n")
    print("| step | audio seconds per CPU second |\n| --- | ---: |")
    for name, seconds in spent.items():
        print(f"| {name} | {args.files * SECONDS / seconds:,.0f} |")
    whole = [seconds for name, seconds in spent.items() if name.startswith("**")]
    print(f"\nours / Lhotse: {whole[1] / whole[0]:.2f}")


if __name__ == "__main__":
    main()
