"""Error rates and speed of a recogniser on Lhotse manifests or folders with a manifest.tsv."""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from speech.errors import DataError, SpeechError


class SetResult(NamedTuple):
    name: str
    seconds: float  # of audio
    wall: float
    rates: Any  # ErrorRates

    @property
    def rtfx(self) -> float:
        from speech.metrics import rtfx

        return rtfx(self.seconds, self.wall)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="speech evaluate", description=__doc__, allow_abbrev=False)
    parser.add_argument("model", help="model folder")
    parser.add_argument("data", nargs="+", help="manifests (.jsonl, .jsonl.gz) or folders with a manifest.tsv")
    parser.add_argument("--split", default="test", help="split of a folder's manifest.tsv (default: test)")
    parser.add_argument("--normalize", default="none", help="text rule for references and hypotheses: none, en, zh")
    parser.add_argument("--unit", choices=("word", "char"), help="default: char for zh, ja and ko, else word")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--beam_size", type=int, help="1 is greedy (default: the model's)")
    parser.add_argument("--length_penalty", type=float, help="default: the model's")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (0: torch's choice)")
    parser.add_argument("--worst", type=int, default=3, help="worst utterances shown per set")
    parser.add_argument("--out", help="folder for results.md and, per set, hyp.trn, ref.trn, results.jsonl")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = make_parser().parse_args(argv)

    import torch

    from speech.recognizer import Recognizer

    if args.threads:
        torch.set_num_threads(args.threads)
    recognizer = Recognizer(args.model, args.device)
    results = []
    for source in args.data:
        name, cuts = _cuts(source, args.split)
        result = _evaluate(recognizer, name, cuts, args)
        results.append(result)
        for worst in result.rates.worst(args.worst):
            print(f"  {worst.id}: {worst.errors} errors\n    ref {worst.reference}\n    hyp {worst.hypothesis}")
    table = _table(results)
    print(f"\n{table}", end="")
    if args.out:
        (Path(args.out) / "results.md").write_text(table, encoding="utf-8")


def _cuts(source: str, split: str):
    from speech.data.manifests import open_manifest
    from speech.data.tsv import cuts_from_folder

    path = Path(source)
    if not path.is_dir():
        return path.name.removesuffix(".gz").removesuffix(".jsonl"), list(open_manifest(path))
    splits = cuts_from_folder(path)
    if split not in splits:
        raise DataError(f"{source}: no split {split!r}; there are {', '.join(splits)}")
    return f"{path.resolve().name}-{split}", list(splits[split])


def _evaluate(recognizer, name: str, cuts: list, args: argparse.Namespace) -> SetResult:
    from speech.data.manifests import load_audio
    from speech.metrics import CHARACTER_LANGUAGES, error_rates
    from speech.text.normalize import normalize

    rate = recognizer.sample_rate
    waveforms = [load_audio(cut, rate) for cut in cuts]
    options = dict(batch_size=args.batch_size, beam_size=args.beam_size, length_penalty=args.length_penalty)
    recognizer.transcribe(waveforms[: args.batch_size], sampling_rate=rate, **options)  # warm-up, not timed
    started = time.perf_counter()
    found = recognizer.transcribe(waveforms, sampling_rate=rate, **options)
    wall = time.perf_counter() - started
    ids = [cut.id for cut in cuts]
    references = [normalize(cut.supervisions[0].text or "", args.normalize) for cut in cuts]
    hypotheses = [normalize(transcript.text, args.normalize) for transcript in found]
    unit = args.unit or ("char" if recognizer.generation.language in CHARACTER_LANGUAGES else "word")
    rates = error_rates(ids, references, hypotheses, unit)
    if not rates.utterances:
        raise DataError(f"{name}: none of {len(ids)} utterances has a reference text")
    result = SetResult(name, sum(len(w) for w in waveforms) / rate, wall, rates)
    if args.out:
        _write(Path(args.out) / name, result, {c.id: c.supervisions[0].speaker or "unknown" for c in cuts})
    return result


def _write(out: Path, result: SetResult, speaker_of: dict[str, str]) -> None:
    from speech.metrics import write_trn

    rates = result.rates
    out.mkdir(parents=True, exist_ok=True)
    ids = [u.id for u in rates.utterances]
    speakers = [speaker_of[i] for i in ids]
    write_trn(out / "ref.trn", ids, speakers, [u.reference for u in rates.utterances])
    write_trn(out / "hyp.trn", ids, speakers, [u.hypothesis for u in rates.utterances])
    rows = ({"id": u.id, "ref": u.reference, "hyp": u.hypothesis, "errors": u.errors} for u in rates.utterances)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (out / "results.jsonl").write_text(lines, encoding="utf-8")
    summary = {"unit": rates.unit, "error_rate": rates.rate, "sentence_error_rate": rates.sentence_rate,
               "substitutions": rates.substitutions, "deletions": rates.deletions, "insertions": rates.insertions,
               "tokens": rates.tokens, "utterances": len(ids), "empty_references": rates.empty_references,
               "audio_seconds": result.seconds, "rtfx": result.rtfx}  # fmt: skip
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


def _table(results: Sequence[SetResult]) -> str:
    head = ["set", "utterances", "minutes", "WER/CER", "sub", "del", "ins", "of", "right", "RTFx"]
    lines = [f"| {' | '.join(head)} |", "|---|" + "--:|" * (len(head) - 1)]
    for r in results:
        e = r.rates
        unit = "CER" if e.unit == "char" else "WER"
        row = [r.name, f"{len(e.utterances)}", f"{r.seconds / 60:.1f}", f"{unit} {100 * e.rate:.2f} %",
               f"{e.substitutions}", f"{e.deletions}", f"{e.insertions}", f"{e.tokens}",
               f"{100 * (1 - e.sentence_rate):.1f} %", f"{r.rtfx:.0f}"]  # fmt: skip
        lines.append(f"| {' | '.join(row)} |")
    empty = sum(r.rates.empty_references for r in results)
    note = f"\n{empty} utterances without reference text are not counted.\n" if empty else ""
    return "\n".join(lines) + "\n" + note


if __name__ == "__main__":
    try:
        main()
    except SpeechError as error:
        raise SystemExit(f"error: {error}") from None
