"""Error rates and speed of a recogniser on a Lhotse manifest or a folder with a manifest.tsv."""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from speech.errors import DataError, SpeechError


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="speech evaluate", description=__doc__, allow_abbrev=False)
    parser.add_argument("model", help="model folder")
    parser.add_argument("data", help="manifest (.jsonl, .jsonl.gz) or folder with a manifest.tsv")
    parser.add_argument("--split", default="test", help="split of a folder's manifest.tsv (default: test)")
    parser.add_argument("--normalize", default="none", help="text rule for references and hypotheses: none, en, zh")
    parser.add_argument("--unit", choices=("word", "char"), help="default: char for zh, ja and ko, else word")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--beam_size", type=int)
    parser.add_argument("--length_penalty", type=float)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (0: torch's choice)")
    parser.add_argument("--worst", type=int, default=5, help="worst utterances shown")
    parser.add_argument("--out", help="folder for hyp.trn, ref.trn, results.jsonl and summary.json")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = make_parser().parse_args(argv)

    import torch

    from speech.data.manifests import load_audio, open_manifest
    from speech.data.tsv import cuts_from_folder
    from speech.metrics import CHARACTER_LANGUAGES, error_rates, rtfx, write_trn
    from speech.recognizer import Recognizer
    from speech.text.normalize import normalize

    if args.threads:
        torch.set_num_threads(args.threads)
    recognizer = Recognizer(args.model, args.device)
    if Path(args.data).is_dir():
        splits = cuts_from_folder(args.data)
        if args.split not in splits:
            raise DataError(f"{args.data}: no split {args.split!r}; there are {', '.join(splits)}")
        cuts = list(splits[args.split])
    else:
        cuts = list(open_manifest(args.data))
    waveforms = [load_audio(cut, recognizer.sample_rate) for cut in cuts]
    options = dict(batch_size=args.batch_size, beam_size=args.beam_size, length_penalty=args.length_penalty)
    rate = recognizer.sample_rate
    recognizer.transcribe(waveforms[: args.batch_size], sampling_rate=rate, **options)  # warm-up, not timed
    started = time.perf_counter()
    found = recognizer.transcribe(waveforms, sampling_rate=rate, **options)
    wall = time.perf_counter() - started
    assert isinstance(found, list)
    ids = [cut.id for cut in cuts]
    references = [normalize(cut.supervisions[0].text or "", args.normalize) for cut in cuts]
    hypotheses = [normalize(transcript.text, args.normalize) for transcript in found]
    unit = args.unit or ("char" if recognizer.generation.language in CHARACTER_LANGUAGES else "word")
    rates = error_rates(ids, references, hypotheses, unit)
    seconds = sum(len(w) for w in waveforms) / rate
    name = "CER" if unit == "char" else "WER"
    print(
        f"{name} {100 * rates.rate:.2f} %  ({rates.errors} errors of {rates.tokens}: {rates.substitutions} sub, "
        f"{rates.deletions} del, {rates.insertions} ins)  utterances right {100 * (1 - rates.sentence_rate):.1f} % "
        f"of {len(rates.utterances)}  RTFx {rtfx(seconds, wall):.0f}"
    )
    if rates.empty_references:
        print(f"{rates.empty_references} utterances without reference text are not in these numbers")
    for worst in rates.worst(args.worst):
        print(f"  {worst.id}: {worst.errors} errors\n    ref {worst.reference}\n    hyp {worst.hypothesis}")
    if args.out:
        out = Path(args.out)
        out.mkdir(parents=True, exist_ok=True)
        speakers = [cut.supervisions[0].speaker or "unknown" for cut in cuts]
        write_trn(out / "ref.trn", ids, speakers, references)
        write_trn(out / "hyp.trn", ids, speakers, hypotheses)
        rows = ({"id": i, "ref": r, "hyp": h} for i, r, h in zip(ids, references, hypotheses, strict=True))
        (out / "results.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        summary = {name.lower(): rates.rate, "sentence_error": rates.sentence_rate, "rtfx": rtfx(seconds, wall)}
        (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    try:
        main()
    except SpeechError as error:
        raise SystemExit(f"error: {error}") from None
