"""Errors of word times on digits joined at known places with pauses, by the model of egs/digits.

    bash egs/digits/run.sh && python tests/benchmarks/word_times.py

By alignment on the CTC head, and on the weights of the decoder's attention. Only strings that were recognised right
count. White noise at 20 dB below the speech takes away the digital silence of
the joins. A pause of more than 0.3 s is swallowed when the words beside it leave less than half of it.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from speech.data.augment import mix_noise
from speech.data.manifests import load_audio, open_manifest
from speech.recognizer import load_model

HERE = Path(__file__).resolve().parents[2] / "egs/digits"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=HERE / "exp/model")
    parser.add_argument("--manifest", default=HERE / "data/test.jsonl.gz")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(args.model, "cpu")
    cuts = [cut for cut in open_manifest(args.manifest) if len(cut.tracks) > 2]
    print("| sound | by | strings | words | start: median, 95 % | end: median, 95 % | pauses > 0.3 s | swallowed |")
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    for name, snr in (("as joined", None), ("noise at 20 dB", 20.0)):
        rng = np.random.default_rng(0)
        sounds = [load_audio(cut, model.sample_rate) for cut in cuts]
        if snr is not None:
            sounds = [mix_noise(x, rng.standard_normal(x.shape).astype(np.float32), snr) for x in sounds]
        for how in ("ctc", "attention"):
            asked = dict(sampling_rate=model.sample_rate, word_timestamps=True, word_times=how)
            print(f"| {name} | {how} | {row(cuts, model.transcribe(sounds, **asked))} |")


def row(cuts: list, found: list) -> str:
    starts, ends, pauses, swallowed, right = [], [], 0, 0, 0
    for cut, transcript in zip(cuts, found, strict=True):
        if transcript.text != cut.tracks[1].cut.supervisions[0].text:
            continue
        right += 1
        true = [(track.offset, track.offset + track.cut.duration) for track in cut.tracks[1:]]
        words = transcript.words
        starts += [abs(w.start - a) for w, (a, _) in zip(words, true, strict=True)]
        ends += [abs(w.end - b) for w, (_, b) in zip(words, true, strict=True)]
        for i in range(len(true) - 1):
            pause = true[i + 1][0] - true[i][1]
            if pause > 0.3:
                pauses += 1
                swallowed += words[i + 1].start - words[i].end < pause / 2
    ms = [f"{1000 * np.median(e):.0f} ms, {1000 * np.percentile(e, 95):.0f} ms" for e in (starts, ends)]
    return f"{right} of {len(cuts)} | {len(starts)} | {ms[0]} | {ms[1]} | {pauses} | {swallowed}"


if __name__ == "__main__":
    main()
