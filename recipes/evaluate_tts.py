"""How a voice speaks: read back by a recogniser, beside its recordings in sound and timing, on hard sentences, speed.

python -m recipes.evaluate_tts VOICE --manifest test.jsonl.gz --out DIR [--recognizer MODEL] [--sentences FILE]
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from recipes.tts_report import SOUNDS, markdown, page, tables
from speech.errors import DataError, SpeechError, run
from speech.text.normalize import RULES


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("voice", help="voice folder")
    parser.add_argument("--manifest", required=True, help="test set of recipes.prepare, whose texts are phonemes")
    parser.add_argument("--out", required=True, type=Path, help="folder for results.json, results.md and index.html")
    parser.add_argument("--vocoder", help="vocoder folder (default: the voice's, else Griffin-Lim)")
    parser.add_argument("--recognizer", help="model folder of the judge, which has not heard the voice's training set")
    parser.add_argument("--normalize", choices=RULES, help="of what is read back (default: zh for zh, ja, ko, else en)")
    parser.add_argument("--aligner-durations", help="durations.npz of the recordings, by recipes.train_aligner")
    parser.add_argument("--sentences", type=Path, help="hard ones, one a line")
    parser.add_argument("--limit", type=int, help="only the first utterances")
    parser.add_argument("--examples", type=int, default=10, help="utterances to listen to on the page (default: 10)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: a GPU if there is one")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (0: torch's choice; default: 1)")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = make_parser().parse_args(argv)

    import torch

    from recipes.tts_bench import Bench
    from speech.data.manifests import open_manifest

    if args.threads > 0:
        torch.set_num_threads(args.threads)
    bench = Bench(args)
    try:
        (args.out / "examples").mkdir(parents=True, exist_ok=True)
        lines = args.sentences.read_text(encoding="utf-8").splitlines() if args.sentences else []
    except (OSError, UnicodeDecodeError) as error:
        raise SpeechError(f"{error}; give another --out or --sentences") from None
    rows, failed = [], []
    for cut in list(open_manifest(args.manifest))[: args.limit]:  # type: ignore[call-overload]
        try:
            stem = args.out / "examples" / f"{len(rows)}" if len(rows) < args.examples else None
            rows.append(bench.utterance(cut, stem))
        except SpeechError as error:
            print(f"error: {cut.id}: {error}", file=sys.stderr)
            failed.append({"id": cut.id, "reason": str(error)})
    if not rows:
        raise DataError(f"{args.manifest}: none of {len(failed)} utterances could be spoken and compared; see above")
    hard = bench.hard([line for line in lines if line.strip()]) if args.sentences else None
    found = {**bench.settings, **summary(rows, bench.hop_seconds), "hard": hard, "rows": rows, "failed": failed}
    made, title = tables(found), f"Voice {found['voice']}"
    about = f"{len(rows)} utterances of {Path(args.manifest).name}, {len(failed)} failed; vocoder {found['vocoder']}"
    text = f"# {title}\n\n{about}\n\n{markdown(made)}"
    result = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (args.out / "results.json").write_text(result, encoding="utf-8")
    (args.out / "results.md").write_text(text, encoding="utf-8")
    (args.out / "index.html").write_text(page(title, about, made, rows), encoding="utf-8")
    print(text)
    if failed:
        raise DataError(f"{len(failed)} utterances are not in the result; see above")


def summary(rows: Sequence[Mapping[str, Any]], hop_seconds: float) -> dict[str, Any]:
    """What the tables tell of the utterances."""
    from speech.tts_metrics import read_back

    read = [row for row in rows if row["said"] and row["heard"]["copy"] is not None]
    heard = {name: [row["heard"][name] for row in read] for name in SOUNDS}
    frames = {name: sum(row["frames"][name] for row in rows) for name in SOUNDS}
    reading = {
        key: mean(row.get(key) for row in rows)
        for key in ("mel_mcd", "mel_l1", "duration_mae_ms", "ended", "focus_rate")
    }
    counts = {key: sum(row[key] for row in rows) for key in ("phonemes", "reached", "jumps") if key in rows[0]}
    timed = rows[1:] or rows  # the first one warms up
    seconds = hop_seconds * sum(row["frames"]["synthesis"] for row in timed)
    speed = {part: sum(row["seconds"][part] for row in timed) / seconds for part in rows[0]["seconds"]}
    return {
        "round_trip": read_back([row["said"] for row in read], heard) if read else None,
        "sound": {name: {key: mean(row[name][key] for row in rows) for key in rows[0][name]} for name in SOUNDS[1:]},
        "reading": {"rate_ratio": frames["recording"] / frames["synthesis"], **reading, **counts},
        "speed": {**speed, "all": sum(speed.values())},
    }


def mean(values: Iterable[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None


if __name__ == "__main__":
    run(main)
