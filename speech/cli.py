"""The `speech` command. Sub-commands import their work only when they run, so that --help answers at once."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from speech import __version__
from speech.cli_demo import add_demo
from speech.cli_export import add_export
from speech.cli_synthesize import add_synthesize
from speech.cli_transcribe import add_transcribe
from speech.errors import SpeechError, run

PASSED_ON = {
    "train": ("recipes.train_aed", "train a recogniser from manifests and a YAML configuration"),
    "evaluate": ("recipes.evaluate_asr", "error rates and speed on a manifest or folder"),
    "serve": ("serve.server", "answer OpenAI's audio API over HTTP with models by name"),
    "doctor": ("serve.doctor", "say whether exported models run on a GPU here, and why not"),
}
DATA_PASSED_ON = {
    "bins": ("recipes.make_bins", "make the 2D bins of a training manifest"),
    "batch-sizes": ("recipes.find_batch_sizes", "find how many cuts of each bin fit the memory"),
}


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="speech", description="Speech recognition and synthesis.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, text) in PASSED_ON.items():
        commands.add_parser(name, help=text, add_help=False)
    add_transcribe(commands)
    add_synthesize(commands)
    add_demo(commands)
    _add_average(commands)
    _add_data(commands)
    p = commands.add_parser("import", help="make a model folder of a public checkpoint", allow_abbrev=False)
    p.add_argument("family", choices=("firered", "canary"), help="whose checkpoint it is")
    p.add_argument("source", help="firered: folder with model.pth.tar; canary: .nemo archive or folder of transformers")
    p.add_argument("out", help="model folder to write")
    p.add_argument("--hub", action="store_true", help="the source is ORG/NAME on the Hugging Face Hub")
    p.set_defaults(run=import_model)
    add_export(commands)
    commands.add_parser("models", help="list the models that can be trained by name").set_defaults(run=models)
    return parser


def _add_average(commands) -> None:
    p = commands.add_parser("average", help="mean of the newest checkpoints as a model folder", allow_abbrev=False)
    p.add_argument("model", help="model folder of the run: gives configuration and tokenizer")
    p.add_argument("checkpoints", help="checkpoints folder of the run")
    p.add_argument("--out", "-o", required=True, help="model folder to write")
    p.add_argument("--count", "-n", type=int, default=5, help="newest checkpoints to average")
    p.set_defaults(run=average)


def _add_data(commands) -> None:
    data = commands.add_parser("data", help="look after manifests", allow_abbrev=False)
    verbs = data.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, (_, text) in DATA_PASSED_ON.items():
        verbs.add_parser(name, help=text, add_help=False)
    p = verbs.add_parser("validate", help="list every fault of a manifest", allow_abbrev=False)
    p.add_argument("manifest", help=".jsonl or .jsonl.gz")
    p.add_argument("--tokenizer", help="tokenizer.model: also report characters outside it")
    p.add_argument("--min_seconds", type=float, default=0.1)
    p.add_argument("--max_seconds", type=float, default=60.0)
    p.set_defaults(run=validate)
    p = verbs.add_parser("files", help="print the audio files of a manifest", allow_abbrev=False)
    p.add_argument("manifest", help=".jsonl or .jsonl.gz")
    p.add_argument("--count", type=int, help="so many, evenly spaced (default: all)")
    p.set_defaults(run=files)
    p = verbs.add_parser("shar", help="write cuts and audio of a manifest as a Lhotse Shar folder", allow_abbrev=False)
    p.add_argument("manifest", help=".jsonl or .jsonl.gz")
    p.add_argument("out", help="folder to write; whole files go in as they are, other cuts as FLAC")
    p.add_argument("--shard_cuts", type=int, default=1000, help="cuts per shard (default: 1000)")
    p.set_defaults(run=shar)


def average(args: argparse.Namespace) -> int:
    from speech.folder import load_folder, save_model
    from speech.training.average import average_checkpoints

    loaded = load_folder(args.model)
    notes = average_checkpoints(Path(args.checkpoints), args.count, loaded.model)
    save_model(args.out, loaded.model, loaded.tokenizer, loaded.generation, notes)
    print(f"{args.out}: {notes}")
    return 0


def import_model(args: argparse.Namespace) -> int:
    from speech.importers.convert import convert

    print(convert(args.family, args.source, Path(args.out), args.hub))
    return 0


def models(args: argparse.Namespace) -> int:
    from speech.config import presets

    for name, what in presets().items():
        print(f"{name:18} {what}")
    print("\nspeech train --config NAME trains one from scratch; further --config files and flags change it.")
    return 0


def validate(args: argparse.Namespace) -> int:
    from speech.data.validate import validate as check
    from speech.text.load import load_tokenizer

    tokenizer = load_tokenizer(args.tokenizer) if args.tokenizer else None
    report = check(args.manifest, tokenizer, min_seconds=args.min_seconds, max_seconds=args.max_seconds)
    for fault in report.faults:
        print(f"line {fault.line}  {fault.cut_id}: {fault.what}")
    print(f"{report.cuts} cuts, {report.hours:.2f} h, {len(report.faults)} faults")
    return 1 if report.faults else 0


def files(args: argparse.Namespace) -> int:
    from speech.data.manifests import open_manifest, sources

    cuts = list(open_manifest(args.manifest))
    found = list(dict.fromkeys(s for cut in cuts for s in sources(cut) if isinstance(s, str)))
    count = len(found) if args.count is None else args.count
    if not 0 < count <= len(found):
        raise SpeechError(f"--count {count}: {args.manifest} has {len(found)} audio files")
    print(*(found[(2 * i + 1) * len(found) // (2 * count)] for i in range(count)), sep="\n")
    return 0


def shar(args: argparse.Namespace) -> int:
    from speech.data.shar_writer import write_shar

    written = write_shar(args.manifest, args.out, args.shard_cuts)
    print(f"{args.out}: {written.cuts} cuts in {written.shards} shards, {written.encoded} of them encoded anew")
    return 0


def main(argv: Sequence[str] | None = None) -> NoReturn:
    run(lambda: _dispatch(list(sys.argv[1:] if argv is None else argv)))


def _dispatch(argv: list[str]) -> int | None:
    if argv and argv[0] in PASSED_ON:
        return importlib.import_module(PASSED_ON[argv[0]][0]).main(argv[1:])
    if argv[:1] == ["data"] and argv[1:2] and argv[1] in DATA_PASSED_ON:
        return importlib.import_module(DATA_PASSED_ON[argv[1]][0]).main(argv[2:])
    args = make_parser().parse_args(argv)
    return args.run(args)
