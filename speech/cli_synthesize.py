"""`speech synthesize`: texts in, sound out."""

import argparse
import io
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from speech.errors import SpeechError
from speech.onnx_folder import PRECISIONS

SCALES = {
    "length_scale": "above 1 is slower",
    "pause_scale": "of the pauses alone; [[500ms]] in a text makes one",
    "pitch_scale": "ratio of Hz, where the voice has a pitch",
    "energy_scale": "ratio, where the voice has an energy",
    "volume": "of the samples",
}


def add_synthesize(commands) -> None:
    p = commands.add_parser("synthesize", help="speak texts with a voice", allow_abbrev=False)
    p.add_argument("text", nargs="*", help="what to say (default: a text from each line of --input_file or stdin)")
    p.add_argument("-m", "--model", required=True, help="voice folder, exported or not")
    p.add_argument("-i", "--input_file", "--input-file", help="a text on each line; - is stdin")
    p.add_argument("-f", "--output_file", "--output-file", help="all of the text to this file: wav, flac, ogg, opus,"
                   " mp3; - is stdout, as wav")  # fmt: skip
    p.add_argument("-d", "--output_dir", "--output-dir", default=".", help="folder of 1.wav, 2.wav ... (default: here)")
    p.add_argument("--output_raw", "--output-raw", action="store_true", help="16-bit samples to stdout, as they come")
    p.add_argument("-s", "--speaker", help="name of one of several speakers")
    p.add_argument("--language", help="one of the voice's (default: its first)")
    for name, what in SCALES.items():
        spellings = dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}"))
        p.add_argument(*spellings, type=float, default=1.0, metavar="FACTOR", help=f"{what} (default: 1)")
    p.add_argument("--sentence_silence", "--sentence-silence", type=float, default=0.2, metavar="SECONDS",
                   help="between sentences (default: 0.2)")  # fmt: skip
    p.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: a GPU if there is one")
    p.add_argument("--precision", choices=tuple(PRECISIONS), default="32", help="of an exported voice (default: 32)")
    p.add_argument("--threads", type=int, default=0, help="CPU threads (0: the engine's choice)")
    p.add_argument("--quiet", action="store_true", help="say only what went wrong")
    p.set_defaults(run=synthesize)


def _texts(args: argparse.Namespace) -> Iterator[bytes]:
    if args.text:
        yield os.fsencode(" ".join(args.text))
        return
    try:
        with sys.stdin.buffer if args.input_file in (None, "-") else open(args.input_file, "rb") as file:
            yield from [file.read()] if args.output_file else (line for line in file if line.strip())
    except OSError as error:
        raise SpeechError(f"--input_file {args.input_file}: cannot be read ({error.strerror})") from None


def synthesize(args: argparse.Namespace) -> int:
    import numpy as np
    import soundfile as sf
    from tqdm import tqdm

    from speech.audio.write import pcm16, write_audio
    from speech.open import open_synthesizer
    from speech.talker import Manner

    manner = Manner(**{name: getattr(args, name) for name in Manner.__dataclass_fields__})
    voice = open_synthesizer(args.model, args.device, args.precision, args.threads)
    failed, out = 0, Path(args.output_dir)
    voice.check(manner)
    try:
        (out if not args.output_file else Path(args.output_file).parent).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpeechError(f"output folder {out}: {error.strerror}; give another --output_dir") from None
    bar = tqdm(disable=args.quiet or not sys.stderr.isatty(), leave=False, bar_format="{n:.1f} s of audio in {elapsed}")
    seconds, begin = 0.0, time.perf_counter()
    for number, line in enumerate(_texts(args), 1):
        samples, pieces, dropped = 0, [], {}
        try:
            for piece, silent in voice.stream(line.decode("utf-8-sig").strip(), manner):
                if args.output_raw:
                    sys.stdout.buffer.write(pcm16(piece))
                    sys.stdout.buffer.flush()
                else:
                    pieces.append(piece)
                dropped.update(dict.fromkeys(silent))
                samples += len(piece)
                bar.update(len(piece) / voice.sample_rate)
            if args.output_file == "-" and not args.output_raw:
                sf.write(whole := io.BytesIO(), np.concatenate(pieces), voice.sample_rate, "PCM_16", format="WAV")
                sys.stdout.buffer.write(whole.getvalue())
            elif not args.output_raw:
                path = Path(args.output_file or out / f"{number}.wav")
                write_audio(path, np.concatenate(pieces), voice.sample_rate)
                if not args.quiet:
                    bar.write(f"{path}: {samples / voice.sample_rate:.2f} s")
            seconds += samples / voice.sample_rate
            if dropped:
                bar.write(f"warning: text {number}: no sound for {' '.join(dropped)}", file=sys.stderr)
        except (SpeechError, UnicodeDecodeError) as error:
            failed += 1
            what = "not UTF-8" if isinstance(error, UnicodeDecodeError) else error
            bar.write(f"error: text {number}: {what}", file=sys.stderr)
    bar.close()
    took = time.perf_counter() - begin
    if seconds and not args.quiet:
        print(f"{seconds:.1f} s of audio in {took:.1f} s, RTF {took / seconds:.3f}", file=sys.stderr)
    return 1 if failed else 0
