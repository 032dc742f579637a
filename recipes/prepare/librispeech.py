"""LibriSpeech, or Mini LibriSpeech -> train, dev and a manifest for every dev and test part.

python -m recipes.prepare.librispeech --out DIR [--corpus DIR/LibriSpeech] [--parts mini_librispeech]
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from lhotse import CutSet
from lhotse.recipes.librispeech import LIBRISPEECH, MINI_LIBRISPEECH, download_librispeech, prepare_librispeech

from recipes.prepare.corpus import cuts_of_part, make_parser, prepare
from speech.errors import DataError, SpeechError, run

PARTS = {"librispeech": LIBRISPEECH, "mini_librispeech": MINI_LIBRISPEECH}
BASE_URL = "https://www.openslr.org/resources"
JOBS = 4  # threads that read the headers of the files


def main(argv: Sequence[str] | None = None) -> None:
    corpus = "folder with train-clean-100/, dev-clean/, ...; without it they are downloaded into <out>/download"
    parser = make_parser(__doc__, corpus, seconds=(0.5, 30.0))
    parser.add_argument("--parts", choices=PARTS, default="librispeech", help="60 GB, or 0.5 GB for a first try; of a "
                        "corpus the parts that are there (default: librispeech)")  # fmt: skip
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    corpus = args.corpus or download(args.out / "download", args.parts)
    splits = cuts_from_librispeech(corpus, args.parts)
    print(prepare(splits, args.out, "en", args.min_seconds, args.max_seconds))


def download(folder: Path, parts: str) -> Path:
    """The corpus folder below `folder`, by lhotse, which goes on where an earlier download stopped."""
    try:
        return Path(download_librispeech(folder, parts, base_url=BASE_URL))
    except OSError as error:
        raise SpeechError(
            f"{parts} cannot be downloaded from {BASE_URL} ({error}); give the unpacked folder LibriSpeech as --corpus"
        ) from None


def cuts_from_librispeech(corpus: Path, parts: str) -> dict[str, CutSet]:
    """train: all train parts there are; dev: all dev parts; then every dev and test part under its own name."""
    there = [part for part in PARTS[parts] if (corpus / part).is_dir()]
    for kind in ("train", "dev"):
        if not any(part.startswith(kind) for part in there):
            found = f"of {parts} there is {', '.join(there) or 'nothing'}"
            raise DataError(f"{corpus}: no part {kind}-*, {found}; give the folder LibriSpeech, or other --parts")
    cuts = {part: _cuts(corpus.resolve(), part) for part in there}

    def joined(kind: str) -> CutSet:
        return CutSet.from_cuts(cut for part in there if part.startswith(kind) for cut in list(cuts[part]))

    scored = {part: cuts[part] for part in there if not part.startswith("train")}
    return {"train": joined("train"), "dev": joined("dev"), **scored}


def _cuts(corpus: Path, part: str) -> CutSet:
    try:
        return cuts_of_part(prepare_librispeech(corpus, dataset_parts=[part], num_jobs=JOBS)[part], "en")
    except AssertionError:  # lhotse's word for a part without utterances
        raise DataError(f"{corpus / part}: no utterance has audio and a line in *.trans.txt; unpack it again") from None


if __name__ == "__main__":
    run(main)
