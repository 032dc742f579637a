"""Speed and memory of exported graphs beside torch, for a recogniser of `base` size with random weights.

    python tests/benchmarks/onnx_speed.py [FOLDER]    # where model and graphs are kept for another run

30 M parameters, 10 s of sound, 40 tokens, one thread; all settings in turn, medians of CPU time. A token is a whole
step of the search, torch's with the weights laid out for it. The draft of a speculative search has one wrong, one
missing and one superfluous token in 40. Memory is what a process grows by after its imports.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch and numpy

import re
import subprocess
import sys
import time
from collections.abc import Callable
from copy import copy
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

ROUNDS, TOKENS, SECONDS = 9, 40, 10
MEMORY = """
import sys, numpy as np
from serve.transcriber import OnnxTranscriber
peak = lambda: int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) / 1024
before = peak()
transcriber = OnnxTranscriber(sys.argv[1], "cpu", sys.argv[2], threads=1)
loaded = peak()
transcriber.transcribe(0.1 * np.random.default_rng(0).standard_normal(30 * 16000, np.float32), sampling_rate=16000)
print(peak() - before, loaded - before)
"""


def make_model(folder: Path) -> None:
    import torch
    import yaml

    from speech.config import PRESETS
    from speech.folder import save_model
    from speech.generation import GenerationConfig
    from speech.models.aed import AED
    from speech.nn.config import AEDConfig
    from speech.text.tokenizer import Tokenizer

    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 6)) for _ in range(4000)]
    tokenizer = Tokenizer.train([" ".join(words[i : i + 8]) for i in range(0, 4000, 8)], folder / "t.model", 1024)
    torch.manual_seed(0)
    model = AED(AEDConfig.from_dict(yaml.safe_load((PRESETS / "base.yaml").read_text())["model"]), tokenizer.size)
    save_model(folder / "model", model, tokenizer, GenerationConfig(max_seconds=40, max_tokens_per_second=15))


def forced(text: list[int]):
    """The rule of a search that writes this text, whatever the scores."""

    def rule(history: list[list[int]], log_probs: np.ndarray, ids: np.ndarray) -> None:
        for row, tokens in enumerate(history):
            kept = log_probs[row, text[len(tokens)]]
            log_probs[row] = -np.inf
            log_probs[row, text[len(tokens)]] = kept

    return rule


def in_turn(runs: dict[str, Callable], rounds: int = ROUNDS) -> dict[str, float]:
    """Median CPU milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in range(rounds + 1):
        for name, call in runs.items():
            began = time.process_time()
            call()
            if round_:
                times[name].append(time.process_time() - began)
    return {name: 1000 * median(values) for name, values in times.items()}


def measure(folder: Path, graphs: Path) -> None:
    import onnxruntime
    import torch

    from serve.transcriber import OnnxTranscriber
    from speech.recognizer import load_model
    from speech.search.beam import BeamOptions, beam_search
    from speech.search.rules import max_repeats
    from speech.search.speculative import Speculative

    torch.set_num_threads(1)
    ways = {"torch": load_model(folder, "cpu")}
    ways |= {precision: OnnxTranscriber(graphs, "cpu", precision, threads=1) for precision in ("32", "int8")}
    tokenizer = ways["torch"].tokenizer
    rng = np.random.default_rng(0)
    text = [*rng.integers(300, tokenizer.size, TOKENS - 1).tolist(), tokenizer.eos_id]
    draft = [*text[:10], 299, *text[11:20], *text[21:30], 298, *text[30:-1]]
    prompt = ways["torch"].decoding().prompt
    options, rules = BeamOptions(tokenizer.eos_id), [max_repeats(4), forced(text)]

    def search(step, batch: int) -> None:
        scores, state = step.first(np.tile(prompt, (batch, 1)))
        beam_search(step, scores, state, options, np.full(batch, 100), rules)

    runs: dict[str, Callable] = {}
    for batch in (1, 8):
        sound = list(0.1 * rng.standard_normal((batch, SECONDS * 16000), np.float32))
        for name, way in ways.items():
            encoded = way.encode(sound)
            runs[f"encoder {name} {batch}"] = lambda w=way, s=sound: w.encode(s)
            runs[f"token {name} {batch}"] = lambda w=way, e=encoded, b=batch: search(w.step(e), b)
            if batch == 1:
                runs[f"ctc {name} 1"] = lambda w=way, e=encoded: w.ctc_log_probs(copy(e), 0)  # it keeps what it finds
                if name != "torch":
                    runs[f"speculative {name} 1"] = lambda w=way, e=encoded: search(
                        Speculative(w.step(e), draft, 100), 1
                    )
    found = in_turn(runs)
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[1]
    load = "/".join(f"{x:.1f}" for x in os.getloadavg())
    print(f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, {cpu}, one thread, load {load}\n")
    print("CPU ms | batch | torch | fp32 | int8")
    for what in ("encoder", "ctc", "token", "speculative"):
        for batch in (1, 8):
            row = [found.get(f"{what} {name} {batch}") for name in ways]
            each = TOKENS if what in ("token", "speculative") else 1
            if row[1] is not None:
                print(f"{what} | {batch} | " + " | ".join("-" if x is None else f"{x / each:.2f}" for x in row))
    for name in ways:
        base = found[f"encoder {name} 1"] + found[f"ctc {name} 1"]
        for what in ("token", "speculative"):
            if f"{what} {name} 1" in found:
                print(f"RTFx {name} {what}: {1000 * SECONDS / (base + found[f'{what} {name} 1']):.1f}")
        print(f"step of 8 beside 1, {name}: {found[f'token {name} 8'] / found[f'token {name} 1']:.2f}")


def memory(graphs: Path) -> None:
    for precision, ending in (("32", ""), ("int8", ".int8")):
        files = [graphs / f"{name}{ending}.onnx" for name in ("encoder", "decoder", "ctc")]
        weights = sum(file.stat().st_size for file in files) / 2**20
        run = subprocess.run(
            [sys.executable, "-c", MEMORY, graphs, precision], capture_output=True, text=True, check=True
        )
        peak, loaded = map(float, run.stdout.split())
        print(
            f"memory {precision}: {weights:.0f} MiB of weights, {loaded:.0f} MiB loaded, "
            f"{peak:.0f} MiB at the peak of 30 s, {peak / weights:.2f} times the weights"
        )


def main() -> None:
    from export.package import export_aed

    with TemporaryDirectory() as temporary:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else temporary)
        if not (folder / "graphs").exists():
            make_model(folder)
            export_aed(folder / "model", folder / "graphs", ["32", "int8"])
        memory(folder / "graphs")
        measure(folder / "model", folder / "graphs")


if __name__ == "__main__":
    main()
