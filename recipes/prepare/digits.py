"""Spoken digits, single and joined into strings -> manifests.

python -m recipes.prepare.digits --out DIR [--corpus DIR]
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from lhotse import CutSet

from recipes.prepare import espeak, fsdd
from recipes.prepare.corpus import Report, make_folder, make_parser, write
from recipes.prepare.strings import Strings, draw_strings, join
from speech.data.tsv import SPLITS, cuts_from_folder
from speech.errors import DataError, SpeechError, run

CORPUS = "folder with manifest.tsv, or the public repository's zip archive; without it they are downloaded"
SINGLE_EDGE_SECONDS = 0.1  # a recogniser trained on strings with pauses expects silence around a single digit too


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__, CORPUS, sample="en_fsdd")
    parser.add_argument("--strings", type=int, default=10_000, help="number of training strings")
    parser.add_argument("--seed", type=int, default=1, help="of the strings drawn")
    args = parser.parse_args(argv)
    if args.strings < 1:
        raise SpeechError(f"--strings {args.strings} must be at least 1")
    print(write_all(open_digits(args.corpus, args.out), args.out, args.strings, args.seed))


def open_digits(corpus: Path | None, out: Path) -> dict[str, CutSet]:
    """Single digits by split, of a folder or an archive; without either what can be had, put below `out`."""
    make_folder(out)
    folder = corpus or download(out)
    if folder.is_file():
        folder = fsdd.extract(folder.read_bytes(), out / "fsdd")
    splits = cuts_from_folder(folder)
    if missing := [split for split in SPLITS if split not in splits]:
        raise DataError(f"{folder / 'manifest.tsv'}: no rows of the split {', '.join(missing)}")
    return splits


def download(out: Path) -> Path:
    """The real digits in `<out>/fsdd`; without a network synthetic ones in `<out>/synthetic`, with a warning."""
    real = out / "fsdd"
    if (real / "manifest.tsv").is_file():
        return real
    try:
        return fsdd.extract(fsdd.fetch(), real)
    except fsdd.Unreachable as error:
        reason = error
    try:
        folder = espeak.synthesize_digits(out / "synthetic")
    except SpeechError as error:
        raise SpeechError(
            f"no digits corpus: {reason}; {error}, or fetch {fsdd.URL} elsewhere and give the file as --corpus"
        ) from None
    print(
        "\n!!! SYNTHETIC SPEECH: these digits were made by espeak-ng, nobody spoke them.\n"
        "!!! Results on them say nothing about real speech.\n"
        f"!!! The real corpus could not be fetched: {reason}\n"
        "!!! Give it as --corpus, or put it into $SPEECH_CORPORA/en_fsdd.\n",
        file=sys.stderr,
    )
    return folder


def write_all(splits: dict[str, CutSet], out: Path, strings: int, seed: int) -> Report:
    """Writes single-{train,dev,test} and the strings train, dev, test and test-long, the last two of test recordings.

    Dev and test singles get silence at both edges.
    """
    report = Report()
    for split in SPLITS:
        cuts = list(splits[split])
        if split != "train":
            cuts = [join(cut.id, [cut], (SINGLE_EDGE_SECONDS, SINGLE_EDGE_SECONDS), []) for cut in cuts]
        write(cuts, out, f"single-{split}", report)
    for split, drawn in (
        ("train", Strings("train", strings, (2, 6), singles=strings // 10)),
        ("dev", Strings("dev", 200, (2, 6))),
        ("test", Strings("test", 300, (2, 6))),
        ("test", Strings("test-long", 100, (7, 10))),
    ):
        write(draw_strings(list(splits[split]), drawn, seed), out, drawn.name, report)
    return report


if __name__ == "__main__":
    run(main)
