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


class SetResult(NamedTuple):
    name: str
    seconds: float  # of audio
    wall: float
    failed: int  # recordings that could not be read
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
    if args.out:
        _make_folder(Path(args.out))
    results = []
    for name, utterances in sets.items():
        result = _evaluate(recognizer, name, utterances, args)
        results.append(result)
        for worst in result.rates.worst(args.worst):
            print(f"  {worst.id}: {worst.errors} errors\n    ref {worst.reference}\n    hyp {worst.hypothesis}")
    table = _table(results)
    print(f"\n{table}", end="")
    if args.out:
        (Path(args.out) / "results.md").write_text(table, encoding="utf-8")
    if failed := sum(r.failed for r in results):
        raise DataError(f"{failed} recordings could not be read and are not in the result; see above")


def _options(args: argparse.Namespace) -> dict[str, Any]:
    options = {k: getattr(args, k) for k in ("batch_size", "beam_size", "length_penalty", "ctc_weight")}
    return options if args.guards else {**options, **UNGUARDED}


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpeechError(f"output folder {folder}: {error.strerror}; give another --out") from None


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
        speaker, text = (said.speaker or "unknown", said.text or "") if said else ("unknown", "")
        utterances.append(Utterance(cut.id, speaker, text, partial(load_audio, cut)))
    return utterances


def _read_folder(folder: Path, split: str) -> list[Utterance]:
    from speech.data.tsv import COLUMNS, read_table

    table = folder / "manifest.tsv"
    rows = list(read_table(table, COLUMNS))
    utterances = [
        Utterance(row["id"], row["speaker"], row["text"], partial(_load, folder, row["audio"], f"{table}, line {line}"))
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


def _load(folder: Path, name: str, where: str, rate: int):
    from speech.audio.decode import decode
    from speech.data.tsv import audio_path

    return decode(audio_path(folder, name, where), rate)


def _evaluate(recognizer, name: str, utterances: list[Utterance], args: argparse.Namespace) -> SetResult:
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
    wall = time.perf_counter() - started
    references = [normalize(u.text, args.normalize) for u in good]
    hypotheses = [normalize(transcript.text, args.normalize) for transcript in found]
    unit = args.unit or ("char" if recognizer.generation.language in CHARACTER_LANGUAGES else "word")
    rates = error_rates([u.id for u in good], references, hypotheses, unit)
    if not rates.utterances:
        raise DataError(f"{name}: none of {len(utterances)} utterances has audio and a reference text")
    result = SetResult(name, sum(len(w) for w in waveforms) / rate, wall, len(utterances) - len(good), rates)
    if args.out:
        _write(Path(args.out) / name, result, {u.id: u.speaker for u in good})
    return result


def _write(out: Path, result: SetResult, speaker_of: dict[str, str]) -> None:
    from speech.metrics import write_trn

    rates = result.rates
    _make_folder(out)
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
               "failed": result.failed, "audio_seconds": result.seconds, "rtfx": result.rtfx}  # fmt: skip
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
    left_out = [
        (sum(r.rates.empty_references for r in results), "utterances without reference text"),
        (sum(r.failed for r in results), "recordings that could not be read"),
    ]
    notes = [f"\nNot counted: {count} {what}.\n" for count, what in left_out if count]
    return "\n".join(lines) + "\n" + "".join(notes)


if __name__ == "__main__":
    run(main)
