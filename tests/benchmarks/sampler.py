"""Padding, batch size, speed, restore and memory of the batch sampler, beside Lhotse's samplers on the same cuts.

    python tests/benchmarks/sampler.py            # some minutes on one core; prints markdown

The synthetic cuts: durations lognormal(1.9, 0.65) clipped to 0.6-30 s, words a second normal(2.3, 0.6) clipped to
0.5-4.5, 3.1 tokens a word and 10 for prompt and end. A batch holds n (d + d^2 / 15) <= 360 s. Common Voice is the real
corpus in SPEECH_CORPORA, its texts in 64 pieces. Overlap: of two cuts in one batch, how often they were together in
the epoch before. Speed is in cuts per second of CPU time.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import re
import resource
import tempfile
import time
import warnings
from pathlib import Path

import lhotse
import numpy as np
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
from lhotse.audio import AudioSource
from lhotse.dataset import DynamicBucketingSampler, DynamicCutSampler
from lhotse.dataset.sampling.base import TimeConstraint

from speech.data.asr import ASRStream
from speech.data.bins import budget_sizes, estimate_bins, profile_sizes
from speech.data.config import DataConfig
from speech.data.corpus import Corpus
from speech.data.order import Order
from speech.data.padding import padding_of
from speech.data.sampler import BatchSampler
from speech.data.table import Table, make_table

BUDGET, QUADRATIC = 360.0, 15.0
EPOCHS = range(4)
SIZES = budget_sizes(BUDGET, QUADRATIC)


def synthetic(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    seconds = np.clip(rng.lognormal(1.9, 0.65, n), 0.6, 30)
    words = np.maximum(1, np.round(seconds * np.clip(rng.normal(2.3, 0.6, n), 0.5, 4.5)))
    return seconds, (np.round(3.1 * words) + 10).astype(int)


def common_voice() -> tuple[np.ndarray, np.ndarray]:
    from recipes.prepare.commonvoice import main as prepare
    from speech.data.manifests import open_manifest
    from speech.text.tokenizer import Tokenizer

    with tempfile.TemporaryDirectory() as folder:
        prepare(["--out", folder])
        cuts = list(open_manifest(Path(folder) / "train.jsonl.gz"))
        texts = [cut.supervisions[0].text for cut in cuts]
        tokenizer = Tokenizer.train(texts, Path(folder) / "t.model", 64, byte_fallback=False)
    return np.array([c.duration for c in cuts]), np.array([len(tokenizer.encode(t)) + 6 for t in texts])


def ours(seconds, tokens, pool, sizes=SIZES, seed=1) -> BatchSampler:
    order = Order([np.arange(len(seconds))], seed=seed)
    return BatchSampler(lambda _: order, lambda rows, _: (seconds[rows], tokens[rows]), sizes, pool, seed)


def lhotse_cuts(seconds) -> CutSet:
    def cut(i, d):
        recording = Recording(str(i), [AudioSource("file", [0], "none.wav")], 16000, round(d * 16000), float(d))
        return MonoCut(str(i), 0.0, float(d), 0, recording=recording)

    return CutSet.from_cuts(cut(i, d) for i, d in enumerate(seconds)).to_eager()


def batches_of(sampler) -> list[np.ndarray]:
    return [np.array([int(cut.id) for cut in batch]) for batch in sampler]


def random_fixed(seconds, size):
    return np.split(np.random.default_rng(1).permutation(len(seconds)), range(size, len(seconds), size))


def overlap(first, second, n) -> float:
    where = np.full(n, -1)
    for i, batch in enumerate(first):
        where[batch] = i
    same = total = 0
    for batch in second:
        together = np.bincount(where[batch])
        same, total = same + (together * (together - 1)).sum(), total + len(batch) * (len(batch) - 1)
    return same / max(1, total)


def row(name, seconds, tokens, *epochs) -> None:
    p = padding_of((seconds[b], tokens[b]) for batches in epochs for b in batches)
    shared = f"{100 * overlap(epochs[0], epochs[1], len(seconds)):.0f} %" if len(epochs) > 1 else ""
    steps = p.batches / len(epochs)
    cells = [f"{100 * p.audio:.1f} %", f"{100 * p.tokens:.1f} %", f"{p.cuts / p.batches:.1f}", f"{steps:.0f}", shared]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def compare(title, seconds, tokens, pool, with_lhotse=True) -> None:
    print(f"\n### {title}\n")
    print("| batches | audio padding | token padding | mean batch | steps | overlap |\n|---|--:|--:|--:|--:|--:|")
    row("random, 32 cuts", seconds, tokens, random_fixed(seconds, 32))
    if with_lhotse:
        cuts = lhotse_cuts(seconds)
        limit = dict(max_duration=BUDGET, quadratic_duration=QUADRATIC)
        row("lhotse, random, 360 s", seconds, tokens, batches_of(DynamicCutSampler(cuts, shuffle=True, **limit)))

        def buckets(epoch):
            constraint = TimeConstraint(max_duration=BUDGET, quadratic_duration=QUADRATIC)
            sampler = DynamicBucketingSampler(cuts, constraint=constraint, num_buckets=20, shuffle=True, seed=1)
            sampler.set_epoch(epoch)
            return batches_of(sampler)

        row("lhotse, 20 buckets of duration", seconds, tokens, *map(buckets, EPOCHS))
    bins = estimate_bins(seconds, tokens, 30, 5)
    edges = np.array(bins.edges)
    kept = np.flatnonzero(bins.faults(seconds, tokens) == 0)
    by_edges = profile_sizes(bins, SIZES(edges[:, 0], edges[:, 1]))
    sampler = ours(seconds, tokens, pool)
    row("ours", seconds, tokens, *([p.rows for p in sampler.epoch(e)] for e in EPOCHS))
    sampler = ours(seconds[kept], tokens[kept], pool, by_edges)
    row(f"ours, sizes by the edges of {len(bins.edges)} bins", seconds[kept], tokens[kept],
        *([p.rows for p in sampler.epoch(e)] for e in EPOCHS))  # fmt: skip


def speed() -> None:
    seconds, tokens = synthetic(50000)
    bins = estimate_bins(seconds, tokens, 30, 5)
    edges = np.array(bins.edges)
    kept = bins.faults(seconds, tokens) == 0
    seconds, tokens = seconds[kept], tokens[kept]
    sizes = profile_sizes(bins, SIZES(edges[:, 0], edges[:, 1]))
    cuts = lhotse_cuts(seconds[:50000])
    found: dict[str, list[float]] = {"ours, 30 x 5 bins": [], "lhotse, 30 buckets": []}
    first = []
    for _ in range(5):
        began, wall = time.process_time(), time.perf_counter()
        plans = ours(seconds, tokens, 10000, sizes).epoch(0)
        next(plans)
        first.append(time.perf_counter() - wall)
        count = sum(len(plan.rows) for plan in plans)
        found["ours, 30 x 5 bins"].append(count / (time.process_time() - began))
        constraint = TimeConstraint(max_duration=BUDGET, quadratic_duration=QUADRATIC)
        sampler = DynamicBucketingSampler(cuts, constraint=constraint, num_buckets=30, shuffle=True)
        began = time.process_time()
        count = sum(len(batch) for batch in sampler)
        found["lhotse, 30 buckets"].append(count / (time.process_time() - began))
    print("\n### Speed, buffer of 10,000 cuts, median of 5 in turn\n\n| sampler | cuts per CPU second |\n|---|--:|")
    for name, values in found.items():
        print(f"| {name} | {np.median(values):,.0f} |")
    ratio = np.median(np.divide(*found.values()))
    print(f"\nRatio {ratio:.0f}. First batch of ours after {1000 * np.median(first):.0f} ms.")


def restore() -> None:
    seconds, tokens = synthetic(1_000_000)
    sampler = ours(seconds, tokens, 20000)
    whole = itertools.islice(sampler, 40000)
    for _ in range(39990):
        last = next(whole)
    began = time.perf_counter()
    other = ours(seconds, tokens, 20000)
    other.start = (last.epoch, last.pool, last.index + 1)
    rest = iter(other)
    following = next(rest)
    took = time.perf_counter() - began
    assert np.array_equal(following.rows, next(whole).rows)
    print("\n### Restore\n")
    print(f"1,000,000 cuts, after 39,990 batches: {took:.2f} s to the next batch.")


def restore_from_disk() -> None:
    """Bins of a million cuts: their table is loaded, the manifest mapped."""
    n = 1_000_000
    seconds, tokens = synthetic(n)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cuts.jsonl"
        cut = lhotse_cuts(seconds[:1])[0]
        cut.supervisions = [SupervisionSegment("0", "0", 0.0, cut.duration, text="x" * 60)]
        line = json.dumps(cut.to_dict()).encode() + b"\n"
        path.write_bytes(line * 1000)
        small = make_table(_one(path), lambda _: [1])
        path.write_bytes(line * n)
        starts = np.concatenate([[0], np.cumsum(tokens)])
        begins = np.arange(n) * len(line)
        flat = np.ones(starts[-1], np.int32)
        table = Table(
            path, small.lines, begins, begins + len(line) - 1, seconds, np.arange(n).astype(np.uint64), flat, starts
        )
        table.save(Path(folder) / "table.npz", "key")
        began = time.perf_counter()
        loaded = Table.load(Path(folder) / "table.npz", path, "key")
        assert loaded is not None
        took = time.perf_counter() - began
        size = path.stat().st_size / 2**20
    print(f"\nTable of 1,000,000 cuts ({size:.0f} MiB of manifest): {took:.2f} s to load.")


def _one(path: Path) -> Path:
    one = path.with_name("one.jsonl")
    one.write_bytes(path.read_bytes().split(b"\n")[0] + b"\n")
    return one


def memory(batches: int) -> None:
    """Resident memory of this process and two loaders over many batches; the audio is lost, so that only cuts move."""
    with tempfile.TemporaryDirectory() as folder:
        seconds, _ = synthetic(20000)
        path = Path(folder) / "cuts.jsonl"
        with path.open("w") as file:
            for cut in lhotse_cuts(seconds):
                cut.supervisions = [SupervisionSegment(cut.id, cut.id, 0.0, cut.duration, text="x")]
                file.write(json.dumps(cut.to_dict()) + "\n")
        table = make_table(path, lambda _: [1] * 20)
        rows = np.arange(len(table))
        corpus = Corpus([table], [rows], [1.0], {}, 5, table.seconds, table.counts, table.keys)
        stream = ASRStream(corpus, DataConfig(workers=2), 8000, 1, batches)
        early = None
        for i, _ in enumerate(stream, start=1):
            if i == min(1000, batches // 2):
                early = _resident()
            if i == batches - 10:  # the loaders are still there
                late = _resident()
    pairs = ", ".join(f"{a / 2**20:.0f} -> {b / 2**20:.0f} MiB" for a, b in zip(early, late, strict=False))
    print(f"\n### Host memory\n\n{batches:,} batches, main process and 2 loaders, after 1,000 and at the end: {pairs}.")


def _resident() -> list[float]:
    out = []
    for pid in [os.getpid(), *(child.pid for child in multiprocessing.active_children())]:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
        out.append(float(fields[1]) * resource.getpagesize())
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=20000, help="for the memory test")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[1]
    print(f"lhotse {lhotse.__version__}, numpy {np.__version__}, {cpu}, one thread")
    compare("8,000 synthetic cuts, one pool", *synthetic(8000), 8000)
    compare("200,000 synthetic cuts, pools of 20,000", *synthetic(200000), 20000, with_lhotse=False)
    compare("Common Voice, 3.3 hours of training cuts", *common_voice(), 20000)
    speed()
    restore()
    restore_from_disk()
    memory(args.batches)


if __name__ == "__main__":
    main()
