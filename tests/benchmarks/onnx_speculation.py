"""Greedy decoding with the CTC head's draft beside plain greedy decoding, on the recordings of manifests.

    speech export egs/digits/exp/model exp/digits-onnx --precision 32 int8
    python tests/benchmarks/onnx_speculation.py exp/digits-onnx egs/digits/data/test.jsonl.gz ...

One recording at a time, one thread, both ways in turn; CPU time of the search, behind the encoder and the CTC head.
Fails where a token differs. The draft's error rate is in tokens, against the text that is written.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy

import argparse
import time
from statistics import median

import numpy as np

from serve.transcriber import OnnxTranscriber
from speech.data.manifests import load_audio, open_manifest
from speech.request import Request
from speech.search.ctc_prefix import ctc_greedy
from speech.search.speculative import next_edits


def compare(transcriber: OnnxTranscriber, waveforms: list[np.ndarray], ctc_weight: float) -> str:
    decoding = transcriber.decoding(Request(beam_size=1, ctc_weight=ctc_weight))
    blank = transcriber.tokenizer.blank_id
    seconds: dict[bool, list[float]] = {False: [], True: []}
    passes = {False: 0, True: 0}
    errors = length = 0
    furthest, ran = 0.0, transcriber.decoder.run
    for number, waveform in enumerate(waveforms):
        encoded, found = transcriber.encode([waveform]), {}
        draft = ctc_greedy(transcriber.ctc_log_probs(encoded, 0), blank)
        for speculative in sorted((False, True), reverse=bool(number % 2)):
            transcriber.speculative = speculative

            def run(*args, way=speculative):
                passes[way] += 1
                return ran(*args)

            transcriber.decoder.run = run  # type: ignore[method-assign]
            began = time.process_time()
            found[speculative] = transcriber.search([waveform], decoding, encoded)[0][0]
            seconds[speculative].append(time.process_time() - began)
        plain, fast = found[False], found[True]
        assert plain.tokens == fast.tokens and plain.finished == fast.finished, f"recording {number}: {plain} {fast}"
        furthest = max(furthest, np.abs(np.subtract(plain.token_log_probs, fast.token_log_probs)).max())
        edits = np.arange(len(draft) + 1)
        for token in plain.tokens:
            edits = next_edits(edits, np.array(draft, np.int64), token)
        errors += edits[-1]
        length += len(plain.tokens)
    ratio = median(a / b for a, b in zip(*seconds.values(), strict=True))
    total = sum(seconds[False]) / sum(seconds[True])
    ways = [f"{1000 * sum(seconds[way]) / length:.2f} ({passes[way] / len(waveforms):.1f})" for way in (False, True)]
    cells = [str(len(waveforms)), str(length), f"{100 * errors / length:.2f}", *ways, f"{total:.2f}", f"{ratio:.2f}"]
    return " | ".join([*cells, f"{furthest:.0e}"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", help="folder that `speech export` wrote")
    parser.add_argument("manifests", nargs="+")
    parser.add_argument("--precision", nargs="+", default=["32", "int8"])
    parser.add_argument("--ctc_weight", nargs="+", type=float, default=[0.0])
    args = parser.parse_args()
    print("precision | CTC weight | recordings | tokens | draft's errors, % | ms a token (passes) | with the draft |"
          " times faster | median | log-probabilities differ by")  # fmt: skip
    for precision in args.precision:
        transcriber = OnnxTranscriber(args.model, "cpu", precision, threads=1)
        rate = transcriber.sample_rate
        cuts = [cut for manifest in args.manifests for cut in open_manifest(manifest)]
        waveforms = [load_audio(cut, rate) for cut in cuts]
        compare(transcriber, waveforms[:5], 0.0)  # warm
        for weight in args.ctc_weight:
            print(f"{precision} | {weight:g} | {compare(transcriber, waveforms, weight)}", flush=True)


if __name__ == "__main__":
    main()
