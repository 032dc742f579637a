"""`speech synthesize`: texts in, sound out."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from speech.errors import SpeechError


def add_synthesize(commands) -> None:
    p = commands.add_parser("synthesize", help="speak texts with a voice", allow_abbrev=False)
    p.add_argument("text", nargs="*", help="what to say (default: a text from each line of --input_file or stdin)")
    p.add_argument("-m", "--model", required=True, help="voice folder")
    p.add_argument("-i", "--input_file", "--input-file", help="a text on each line; - is stdin")
    p.add_argument("-f", "--output_file", "--output-file", help="one text to this file: wav, flac, ogg, opus, mp3")
    p.add_argument("-d", "--output_dir", "--output-dir", default=".", help="folder of 1.wav, 2.wav ... (default: here)")
    p.add_argument("--output_raw", "--output-raw", action="store_true", help="16-bit samples to stdout, as they come")
    p.add_argument("--length_scale", "--length-scale", type=float, default=1.0, help="above 1 is slower (default: 1)")
    p.add_argument("--pause_scale", "--pause-scale", type=float, default=1.0, help="of the pauses alone (default: 1)")
    p.add_argument("--sentence_silence", "--sentence-silence", type=float, default=0.2, metavar="SECONDS",
                   help="between sentences (default: 0.2)")  # fmt: skip
    p.add_argument("--volume", type=float, default=1.0, help="default: 1")
    p.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: a GPU if there is one")
    p.add_argument("--threads", type=int, default=0, help="CPU threads (0: torch's choice)")
    p.add_argument("--quiet", action="store_true", help="say only what went wrong")
    p.set_defaults(run=synthesize)


def _texts(args: argparse.Namespace) -> Iterator[str]:
    if args.text:
        yield " ".join(args.text)
        return
    try:
        file = sys.stdin if args.input_file in (None, "-") else open(args.input_file, encoding="utf-8")  # noqa: SIM115
        with file:
            yield from (line.rstrip("\n") for line in file if line.strip())
    except OSError as error:
        raise SpeechError(f"--input_file {args.input_file}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise SpeechError(f"--input_file {args.input_file}: not UTF-8") from None


def synthesize(args: argparse.Namespace) -> int:
    import torch
    from tqdm import tqdm

    from speech.audio.write import pcm16, write_audio
    from speech.synthesizer import Manner, Synthesizer

    if args.threads > 0:
        torch.set_num_threads(args.threads)
    if args.output_file and not args.text:
        raise SpeechError("--output_file takes one text, given at the end of the command; --output_dir takes many")
    manner = Manner(args.length_scale, args.pause_scale, args.sentence_silence, args.volume)
    voice, failed, out = Synthesizer(args.model, args.device), 0, Path(args.output_dir)
    try:
        (out if not args.output_file else Path(args.output_file).parent).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpeechError(f"output folder {out}: {error.strerror}; give another --output_dir") from None
    bar = tqdm(_texts(args), unit=" texts", disable=args.quiet or not sys.stderr.isatty() or bool(args.text))
    for number, text in enumerate(bar, 1):
        try:
            if args.output_raw:
                for said in voice.speak(text, manner):
                    sys.stdout.buffer.write(pcm16(said.waveform))
                    sys.stdout.buffer.flush()
                continue
            path = Path(args.output_file or out / f"{number}.wav")
            waveform, dropped = voice.waveform(text, manner)
            write_audio(path, waveform, voice.sample_rate)
            if dropped:
                bar.write(f"warning: text {number}: no sound for {' '.join(dropped)}", file=sys.stderr)
            if not args.quiet:
                bar.write(f"{path}: {len(waveform) / voice.sample_rate:.2f} s")
        except SpeechError as error:
            failed += 1
            bar.write(f"error: text {number}: {error}", file=sys.stderr)
    return 1 if failed else 0
