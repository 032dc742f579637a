"""Greedy decoding with the CTC head's draft beside plain greedy decoding, on the recordings of manifests.

    python tests/benchmarks/onnx_speculation.py EXPORTED MANIFEST... [--beside MODEL]

With the model that was exported, its torch weights are a third way: a step that projects all keys and values anew
(projecting.py), in the same search over the same encoder's output. One recording at a time, one thread, all ways in
turn; CPU time of the search behind the encoder, the CTC head's work in it where it is used and, for the exported
decoder, the projection of the memory (by torch, the second time: the encoder's graph has made it already). Fails where
a token differs. The draft's error rate is in tokens, against the text that is written.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy

import argparse
import time
from statistics import median

import numpy as np
import torch
from projecting import Projecting

from serve.transcriber import OnnxTranscriber
from speech.data.manifests import load_audio, open_manifest
from speech.folder import load_folder
from speech.models.aed import AED
from speech.request import Request
from speech.search.ctc_prefix import ctc_greedy
from speech.search.speculative import next_edits

PLAIN, DRAFT, PROJECTING = "plain", "with the draft", "projecting"


def compare(
    transcriber: OnnxTranscriber, waveforms: list[np.ndarray], ctc_weight: float, model: AED | None
) -> list[str]:
    decoding = transcriber.decoding(Request(beam_size=1, ctc_weight=ctc_weight))
    ways = [PLAIN, DRAFT, *([PROJECTING] if model else [])]
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    passes = dict.fromkeys(ways, 0)
    errors = length = 0
    furthest, step, ran = 0.0, transcriber.step, transcriber.decoder.run
    for number, waveform in enumerate(waveforms):
        encoded, found = transcriber.encode([waveform]), {}
        frames = torch.from_numpy(encoded.encoded.numpy())[:, : encoded.frames[0]]
        for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
            transcriber.speculative, encoded.log_probs = way == DRAFT, None

            def run(*args, way=way):
                passes[way] += 1
                return ran(*args)

            transcriber.decoder.run = run  # type: ignore[method-assign]
            if way == PROJECTING:
                transcriber.step = lambda *_, frames=frames: Projecting(model, frames)  # type: ignore
            began = time.process_time()
            if model and way != PROJECTING:
                with torch.inference_mode():
                    model.decoder.project_memory(model.enc_proj(frames))
            found[way] = transcriber.search([waveform], decoding, encoded)[0][0]
            seconds[way].append(time.process_time() - began)
            transcriber.step = step  # type: ignore[method-assign]
        plain = found[PLAIN]
        for way in ways[1:]:
            other = found[way]
            assert (plain.tokens, plain.finished) == (other.tokens, other.finished), f"{number}, {way}: {plain} {other}"
            furthest = max(furthest, np.abs(np.subtract(plain.token_log_probs, other.token_log_probs)).max())
        draft = ctc_greedy(transcriber.ctc_log_probs(encoded, 0), transcriber.tokenizer.blank_id)
        edits = np.arange(len(draft) + 1)
        for token in plain.tokens:
            edits = next_edits(edits, np.array(draft, np.int64), token)
        errors += edits[-1]
        length += len(plain.tokens)
    cells = [str(len(waveforms)), f"{length / len(waveforms):.1f}", f"{100 * errors / length:.2f}"]
    cells += [f"{1000 * sum(seconds[way]) / length:.2f}" for way in ways]
    cells += [f"{passes[way] / len(waveforms):.1f}" for way in (PLAIN, DRAFT)]
    pairs = [(PLAIN, DRAFT)] + ([(PROJECTING, PLAIN), (PROJECTING, DRAFT)] if model else [])
    return [*cells, *(faster(seconds[slow], seconds[fast]) for slow, fast in pairs), f"{furthest:.0e}"]


def faster(slow: list[float], fast: list[float]) -> str:
    """The ratio of the sums, that of the median recording and that of the worst twentieth."""
    each = [a / b for a, b in zip(slow, fast, strict=True)]
    return f"{sum(slow) / sum(fast):.2f} ({median(each):.2f}, {np.quantile(each, 0.05):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exported", help="folder that `speech export` wrote")
    parser.add_argument("manifests", nargs="+")
    parser.add_argument("--beside", metavar="MODEL", help="the folder that was exported; only for precision 32")
    parser.add_argument("--precision", nargs="+", default=["32"])
    parser.add_argument("--ctc_weight", nargs="+", type=float, default=[0.0])
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load_folder(args.beside).model if args.beside else None
    titles = [
        "precision",
        "CTC weight",
        "recordings",
        "tokens of each",
        "draft's errors, %",
        "ms a token: plain",
        DRAFT,
    ]
    titles += [PROJECTING] if model else []
    titles += ["passes of the decoder: plain", DRAFT, "the draft over plain"]
    titles += ["plain over projecting", "the draft over projecting"] if model else []
    print("| " + " | ".join([*titles, "log-probabilities differ by"]) + " |\n" + "|--:" * (len(titles) + 1) + "|")
    for precision in args.precision:
        transcriber = OnnxTranscriber(args.exported, "cpu", precision, threads=1)
        cuts = [cut for manifest in args.manifests for cut in open_manifest(manifest)]
        waveforms = [load_audio(cut, transcriber.sample_rate) for cut in cuts]
        compare(transcriber, waveforms[:5], 0.0, model)  # warm
        for weight in args.ctc_weight:
            cells = [precision, f"{weight:g}", *compare(transcriber, waveforms, weight, model)]
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
