"""The same tokens from torch and from the exported graphs?

    python tests/benchmarks/onnx_same.py MODEL EXPORTED MANIFEST... [--limit 540] [--precision 32]

Greedy and with a beam of 4, one by one and by eight, on recordings of manifests, and the difference of the encoders.
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch

from itertools import chain, islice

import numpy as np
import torch
from tqdm import tqdm

from serve.transcriber import OnnxTranscriber
from speech.data.manifests import load_audio, open_manifest
from speech.recognizer import load_model
from speech.request import UNGUARDED, Request


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("exported")
    parser.add_argument("manifests", nargs="+")
    parser.add_argument("--limit", type=int, default=540)
    parser.add_argument("--precision", default="32")
    args = parser.parse_args()
    torch.set_num_threads(1)
    ours, theirs = load_model(args.model, "cpu"), OnnxTranscriber(args.exported, "cpu", args.precision, threads=1)
    longest = ours.generation.max_seconds
    cuts = (cut for cut in chain(*map(open_manifest, args.manifests)) if cut.duration <= longest)
    waveforms = [load_audio(cut, ours.sample_rate) for cut in islice(cuts, args.limit)]
    worst = 0.0
    for waveform in tqdm(waveforms, desc="encoder", disable=None):
        a, b = ours.encode([waveform]), theirs.encode([waveform])
        n = int(a.lengths[0])
        assert n == int(b.frames[0])
        worst = max(worst, float(np.abs(a.encoded[0, :n].numpy() - b.encoded.numpy()[0, :n]).max()))
    print(f"{len(waveforms)} recordings, encoder off by at most {worst:.1e}")
    for beam in (1, 4):
        decoding = ours.decoding(Request(beam_size=beam, **UNGUARDED))
        for batch in (1, 8):
            same = 0
            for at in tqdm(range(0, len(waveforms), batch), desc=f"beam {beam}, by {batch}", disable=None):
                some = waveforms[at : at + batch]
                found = [way.search(some, decoding) for way in (ours, theirs)]
                same += sum(a[0].tokens == b[0].tokens for a, b in zip(*found, strict=True))
            print(f"beam {beam}, by {batch}: {same} of {len(waveforms)} have the same tokens", flush=True)


if __name__ == "__main__":
    main()
