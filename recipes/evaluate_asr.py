"""Error rates and speed of a recogniser on Lhotse manifests or folders with a manifest.tsv."""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from speech.errors import DataError, SpeechError, run
from speech.request import UNGUARDED
from speech.text.normalize import RULES


class Utterance(NamedTuple):
    id: str
    speaker: str
    text: str
    load: Callable[[int], Any]  # sample rate -> [samples]


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="speech evaluate", description=__doc__, allow_abbrev=False)
    parser.add_argument("model", help="model folder")
    parser.add_argument("data", nargs="+", help="manifests (.jsonl, .jsonl.gz) or folders with a manifest.tsv")
    parser.add_argument("--split", default="test", help="split of a folder's manifest.tsv (default: test)")
    parser.add_argument("--normalize", choices=RULES, default="none", help="text rule for both texts (default: none)")
    parser.add_argument("--unit", choices=("word", "char"), help="default: char for zh, ja and ko, else word")
    parser.add_argument("--batch_size", type=int, default=16, help="utterances recognised at once (default: 16)")
    parser.add_argument("--beam_size", type=int, help="1 is greedy (default: the model's)")
    parser.add_argument("--length_penalty", type=float, help="default: the model's")
    parser.add_argument("--ctc_weight", type=float, help="share of the CTC head in the search (default: the model's)")
    parser.add_argument("--guards", action="store_true", help="seek doubtful texts again, as `speech transcribe` does")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: a GPU if there is one")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (0: torch's choice)")
    parser.add_argument("--worst", type=int, default=3, help="worst utterances shown per set")
    parser.add_argument("--out", help="folder for results.md and a folder per set")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = make_parser().parse_args(argv)

    import torch

    from speech.recognizer import Recognizer

    if args.threads > 0:
        torch.set_num_threads(args.threads)
    recognizer = Recognizer(args.model, args.device)
    recognizer.transcribe([], **_options(args))  # a wrong setting fails before any audio is read
    sets = _read_sets(args.data, args.split)
    try:
        Path(args.out or ".").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpeechError(f"output folder {args.out}: {error.strerror}; give another --out") from None
    results = {name: _evaluate(recognizer, name, utterances, args) for name, utterances in sets.items()}
    table = _table(results)
    print(f"\n{table}", end="")
    if args.out:
        (Path(args.out) / "results.md").write_text(table, encoding="utf-8")
    if failed := sum(result["failed"] for result in results.values()):
        raise DataError(f"{failed} recordings could not be read and are not in the result; see above")


def _options(args: argparse.Namespace) -> dict[str, Any]:
    options = {k: getattr(args, k) for k in ("batch_size", "beam_size", "length_penalty", "ctc_weight")}
    return options if args.guards else {**options, **UNGUARDED}


def _read_sets(sources: Sequence[str], split: str) -> dict[str, list[Utterance]]:
    """Utterances by name of the set; equal names are numbered, so that no result overwrites another."""
    sets: dict[str, list[Utterance]] = {}
    used: Counter[str] = Counter()
    for path in map(Path, sources):
        if path.is_dir():
            name, utterances = f"{path.resolve().name}-{split}", _read_folder(path, split)
        else:
            name, utterances = path.name.removesuffix(".gz").removesuffix(".jsonl"), _read_manifest(path)
        used[name] += 1
        sets[name if used[name] == 1 else f"{name}-{used[name]}"] = utterances
    return sets


def _read_manifest(path: Path) -> list[Utterance]:
    from speech.data.manifests import load_audio, open_manifest

    utterances = []
    for cut in list(open_manifest(path)):  # type: ignore[call-overload]
        said = cut.supervisions[0] if cut.supervisions else None
        speaker, text = (said.speaker, said.text) if said else (None, None)
        utterances.append(Utterance(cut.id, speaker or "unknown", text or "", partial(load_audio, cut)))
    return utterances


def _read_folder(folder: Path, split: str) -> list[Utterance]:
    from speech.audio.decode import decode
    from speech.data.tsv import COLUMNS, audio_path, read_table

    def load(name: str, line: int, rate: int):
        return decode(audio_path(folder, name, f"{table}, line {line}"), rate)

    table = folder / "manifest.tsv"
    rows = list(read_table(table, COLUMNS))
    utterances = [
        Utterance(row["id"], row["speaker"], row["text"], partial(load, row["audio"], line))
        for line, row in rows
        if row["split"] == split
    ]
    if not utterances:
        there = dict.fromkeys(row["split"] for _, row in rows)
        raise DataError(f"{folder}: no split {split!r}; there are {', '.join(there)}")
    name, count = Counter(u.id for u in utterances).most_common(1)[0]
    if count > 1:
        raise DataError(f"{table}: the id '{name}' stands on {count} lines")
    return utterances


def _evaluate(recognizer, name: str, utterances: list[Utterance], args: argparse.Namespace) -> dict[str, Any]:
    """What summary.json holds; the worst utterances are printed."""
    from speech.metrics import CHARACTER_LANGUAGES, error_rates
    from speech.text.normalize import normalize

    rate, good, waveforms = recognizer.sample_rate, [], []
    for utterance in utterances:
        try:
            waveforms.append(recognizer.load(utterance.load(rate), rate))
            good.append(utterance)
        except SpeechError as error:
            print(f"error: {name} {utterance.id}: {error}", file=sys.stderr)
    recognizer.transcribe(waveforms[: args.batch_size], sampling_rate=rate, **_options(args))  # warm-up, not timed
    started = time.perf_counter()
    found = recognizer.transcribe(waveforms, sampling_rate=rate, **_options(args))
    wall, seconds = time.perf_counter() - started, sum(len(w) for w in waveforms) / rate
    references = [normalize(u.text, args.normalize) for u in good]
    hypotheses = [normalize(transcript.text, args.normalize) for transcript in found]
    unit = args.unit or ("char" if recognizer.generation.language in CHARACTER_LANGUAGES else "word")
    rates = error_rates([u.id for u in good], references, hypotheses, unit)
    if not rates.utterances:
        raise DataError(f"{name}: none of {len(utterances)} utterances has audio and a reference text")
    summary = {"unit": unit, "error_rate": rates.rate, "sentence_error_rate": rates.sentence_rate,
               "substitutions": rates.substitutions, "deletions": rates.deletions, "insertions": rates.insertions,
               "tokens": rates.tokens, "utterances": len(rates.utterances), "empty_references": rates.empty_references,
               "failed": len(utterances) - len(good), "audio_seconds": seconds, "rtfx": seconds / wall}  # fmt: skip
    if args.out:
        _write(Path(args.out) / name, rates.utterances, summary, {u.id: u.speaker for u in good})
    for worst in rates.worst(args.worst):
        print(f"  {worst.id}: {worst.errors} errors\n    ref {worst.reference}\n    hyp {worst.hypothesis}")
    return summary


def _write(out: Path, scored: Sequence[Any], summary: dict[str, Any], speaker_of: dict[str, str]) -> None:
    """The texts in sclite's format, `text (speaker-utterance)`, and what was found as JSON."""
    out.mkdir(exist_ok=True)
    for name, key in (("ref.trn", "reference"), ("hyp.trn", "hypothesis")):
        texts = ((" ".join(getattr(u, key).split()), u.id) for u in scored)
        lines = "".join(f"{text} ({speaker_of[i]}-{i})\n" for text, i in texts)
        (out / name).write_text(lines, encoding="utf-8")
    rows = ({"id": u.id, "ref": u.reference, "hyp": u.hypothesis, "errors": u.errors} for u in scored)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (out / "results.jsonl").write_text(lines, encoding="utf-8")
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


def _table(results: dict[str, dict[str, Any]]) -> str:
    head = ["set", "utterances", "minutes", "WER/CER", "sub", "del", "ins", "of", "right", "RTFx"]
    lines = [f"| {' | '.join(head)} |", "|---|" + "--:|" * (len(head) - 1)]
    for name, r in results.items():
        rate = f"{'CER' if r['unit'] == 'char' else 'WER'} {100 * r['error_rate']:.2f} %"
        edits = [str(r[key]) for key in ("substitutions", "deletions", "insertions", "tokens")]
        row = [name, str(r["utterances"]), f"{r['audio_seconds'] / 60:.1f}", rate, *edits,
               f"{100 * (1 - r['sentence_error_rate']):.1f} %", f"{r['rtfx']:.0f}"]  # fmt: skip
        lines.append(f"| {' | '.join(row)} |")
    left_out = {"empty_references": "utterances without reference text", "failed": "recordings that could not be read"}
    counts = {what: sum(r[key] for r in results.values()) for key, what in left_out.items()}
    return "\n".join(lines) + "\n" + "".join(f"\nNot counted: {n} {what}.\n" for what, n in counts.items() if n)


if __name__ == "__main__":
    run(main)
