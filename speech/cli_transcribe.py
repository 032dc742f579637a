"""`speech transcribe`: files in, texts and subtitles out."""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from speech.errors import AudioError, SpeechError
from speech.onnx_folder import PRECISIONS
from speech.request import WORD_TIMES, Request, parse_hotwords

if TYPE_CHECKING:
    from speech.bulk import Results
    from speech.transcriber import Transcriber

FORMATS = ("txt", "vtt", "srt", "tsv", "json")

GUARDS = {
    "compression_ratio_threshold": "a text that zlib makes so many times smaller is sought again",
    "logprob_threshold": "as is one whose tokens have a lower mean log-probability",
    "ctc_agreement_threshold": "and one that the CTC head finds so much less likely than what it heard",
    "no_speech_threshold": "no text where silence is likelier",
}


def add_transcribe(commands) -> None:
    p = commands.add_parser("transcribe", help="write what is said in audio files", allow_abbrev=False)
    p.add_argument("model", help="model folder, exported or not")
    p.add_argument("audio", nargs="*", help="audio files, folders of them, or - for stdin, whose text goes to stdout")
    p.add_argument("--list", metavar="FILE", help="file with the path of a recording on each line; - is stdin")
    p.add_argument("--output_dir", "-o", default=".", help="folder of the result files (default: here)")
    p.add_argument("--output_format", "-f", choices=(*FORMATS, "all"), default="all", help="default: all")
    p.add_argument("--jsonl", metavar="FILE", help="bulk work: append a line of JSON for each file, in place of result"
                   " files; run again, it goes on where it was ended")  # fmt: skip
    p.add_argument("--shard", default="1/1", metavar="i/n", help="do part i of n, each with a --jsonl of its own")
    p.add_argument("--segments", action="store_true", help="write the segments with their times in the --jsonl as well")
    p.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: a GPU if there is one")
    p.add_argument("--precision", choices=tuple(PRECISIONS), default="32", help="of the weights (default: 32)")
    p.add_argument("--task", choices=("transcribe", "translate"), default="transcribe", help="translate: into English")
    p.add_argument("--language", help="language spoken (default: the model's)")
    p.add_argument("--target_language", help="language of a translation (default: English)")
    p.add_argument("--beam_size", type=int, help="1 is greedy (default: the model's)")
    p.add_argument("--length_penalty", type=float, help="default: the model's")
    p.add_argument("--ctc_weight", type=float, help="share of the CTC head in the search (default: the model's)")
    p.add_argument("--hotwords", default="", metavar="WORDS", help="words and phrases to expect, weights of 1 to 2"
                   " are usual: 'Nguyen, Kuala Lumpur:2'")  # fmt: skip
    p.add_argument("--word_timestamps", action="store_true", help="times of every word, in json output")
    p.add_argument("--word_times", choices=WORD_TIMES, default="auto", help="where times come from: the CTC head, time"
                   " tokens, the decoder's attention (default: the first that the model has)")  # fmt: skip
    p.add_argument("--vad", action="store_true", help="leave out what is no speech, in short files as well")
    for name, what in GUARDS.items():
        default = getattr(Request, name)
        p.add_argument(f"--{name}", type=limit, default=default, help=f"{what} (default: {default}; none: off)")
    p.add_argument("--batch_size", type=int, default=16, help="pieces recognised at once (default: 16)")
    p.add_argument("--speculative", choices=("auto", "false"), default="auto", help="greedy search with drafts of the"
                   " CTC head, which give the same text; auto: where they are faster")  # fmt: skip
    p.add_argument("--threads", type=int, default=0, help="CPU threads (0: the engine's choice)")
    p.add_argument("--quiet", action="store_true", help="do not print the texts")
    p.set_defaults(run=transcribe)


def limit(text: str) -> float | None:
    return None if text == "none" else float(text)


def _plan_outputs(audio: Sequence[str], out: Path) -> list[Path]:
    """`<out>/<stem>` for each file; equal stems are numbered, so that nothing is overwritten."""
    numbers: dict[str, int] = {}
    plan: dict[str, Path] = {}
    for path in audio:
        stem = name = Path(path).stem
        while name in plan:
            numbers[stem] = numbers.get(stem, 1) + 1
            name = f"{stem}-{numbers[stem]}"
        plan[name] = out / name
    return list(plan.values())


def transcribe(args: argparse.Namespace) -> int:
    from speech.bulk import Results, recordings

    audio = recordings(args.audio, args.list)
    if args.jsonl:
        with Results(args.jsonl) as results:
            return _bulk(args, audio, results)
    if args.shard != "1/1" or args.segments:
        raise SpeechError("--shard and --segments are for --jsonl FILE")
    return _each(args, audio)


def _open(args: argparse.Namespace) -> tuple["Transcriber", Request]:
    from speech.open import open_recognizer

    recognizer = open_recognizer(args.model, args.device, args.precision, args.threads)
    if args.speculative == "false":
        recognizer.speculative = False
    asked = {field.name: getattr(args, field.name) for field in fields(Request)}
    return recognizer, Request(**{**asked, "hotwords": parse_hotwords(args.hotwords)})


def _each(args: argparse.Namespace, audio: list[str]) -> int:
    out = Path(args.output_dir)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpeechError(f"output folder {out}: {error.strerror}; give another --output_dir") from None
    recognizer, request = _open(args)
    formats = FORMATS if args.output_format == "all" else (args.output_format,)
    targets = _plan_outputs(audio, out)
    sources = [sys.stdin.buffer if path == "-" else path for path in audio]
    bar = _progress_bar(audio, hidden=args.quiet)
    failed = 0
    with bar:
        for index, found in recognizer.transcribe_each(sources, request, args.batch_size, progress=bar.update):
            if isinstance(found, AudioError):
                failed += 1
                bar.write(f"error: {found}", file=sys.stderr)
                continue
            if audio[index] == "-":
                bar.write(found.render(formats[0]), end="")
                continue
            for name in formats:
                found.save(targets[index].with_name(f"{targets[index].name}.{name}"), name)
            if not args.quiet:
                bar.write(f"{audio[index]}: {found.text}" if len(targets) > 1 else found.text)
    return 1 if failed else 0


def _bulk(args: argparse.Namespace, audio: list[str], results: "Results") -> int:
    """Exit code 1 as long as the results have a failed file of this shard."""
    from tqdm import tqdm

    from speech.bulk import share, to_line

    if "-" in audio:
        raise SpeechError("--jsonl needs files: stdin has no name to be known by when the run goes on")
    plan = share(audio, args.shard)
    todo = [path for path in plan if path not in results.done]
    recognizer, request = _open(args)
    form = "{percentage:3.0f} %|{bar}| {n} of {total} files{postfix}, {elapsed} gone, {remaining} left"
    bar = tqdm(total=len(plan), initial=len(plan) - len(todo), smoothing=0, leave=False, bar_format=form,
               disable=args.quiet or not sys.stderr.isatty())  # fmt: skip
    seconds, begin = 0.0, time.perf_counter()
    with bar:
        for index, found in recognizer.transcribe_each(todo, request, args.batch_size):
            results.add(to_line(todo[index], found, args.segments, args.word_timestamps))
            if isinstance(found, AudioError):
                bar.write(f"error: {found}", file=sys.stderr)
            else:
                seconds += found.duration
                bar.set_postfix_str(f"{seconds:.0f} s of audio", refresh=False)
            bar.update()
    if not args.quiet:
        took = time.perf_counter() - begin
        print(f"{args.jsonl}: {len(todo)} of {len(plan)} files now, {seconds:.0f} s of audio in {took:.0f} s",
              file=sys.stderr)  # fmt: skip
    failed = sum(results.done[path] for path in plan)
    if failed:
        print(f"error: {failed} of {len(plan)} files failed; remove their lines from {args.jsonl} to try them again",
              file=sys.stderr)  # fmt: skip
    return 1 if failed else 0


def _progress_bar(audio: Sequence[str], hidden: bool):
    """Seconds of audio done on a terminal; with the time left where every header says how long its file is."""
    from tqdm import tqdm

    from speech.audio.decode import claimed_seconds

    shown = sys.stderr.isatty() and not hidden
    lengths = [claimed_seconds(path) for path in audio] if shown else [None]
    total = None if None in lengths else sum(x or 0.0 for x in lengths)
    form = "{percentage:3.0f} %|{bar}| {n:.0f} of {total:.0f} s of audio, {elapsed} gone, {remaining} left"
    return tqdm(total=total, disable=not shown, unit=" s", bar_format=form if total else None, leave=False)
