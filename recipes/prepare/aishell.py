"""AISHELL-1, or its sample of two speakers -> train, dev and test manifests.

python -m recipes.prepare.aishell --corpus DIR --out DIR
"""

from collections.abc import Sequence
from pathlib import Path

from lhotse import CutSet
from lhotse.recipes.aishell import prepare_aishell

from recipes.prepare.corpus import cuts_of_part, make_parser, prepare
from speech.data.tsv import SPLITS, cuts_from_folder
from speech.errors import DataError, SpeechError, run


def main(argv: Sequence[str] | None = None) -> None:
    corpus = "AISHELL-1 (the folder with data_aishell/) or a folder with manifest.tsv"
    args = make_parser(__doc__, corpus, sample="zh_aishell_sample", seconds=(0.5, 20.0)).parse_args(argv)
    if args.corpus is None:
        raise SpeechError(
            "no AISHELL corpus: fetch it from https://www.openslr.org/33 (15 GB), for example by `lhotse download "
            "aishell DIR`, and give DIR/aishell as --corpus"
        )
    whole = (args.corpus / "data_aishell").is_dir()
    splits = cuts_from_aishell(args.corpus) if whole else cuts_from_folder(args.corpus, "zh")
    print(prepare(splits, args.out, "zh", args.min_seconds, args.max_seconds))


def cuts_from_aishell(corpus: Path) -> dict[str, CutSet]:
    """Cuts by split, as lhotse reads them: `data_aishell/wav/<split>/<speaker>/*.wav` and one file of transcripts."""
    try:
        manifests = prepare_aishell(corpus.resolve())
    except FileNotFoundError as error:
        raise DataError(f"{error.filename} is missing; give the folder that holds data_aishell as --corpus") from None
    except AssertionError:  # lhotse's word for a split without utterances
        where = corpus / "data_aishell/wav"
        raise DataError(
            f"{where}: a split has no *.wav with a transcript; unpack the archives of its speakers"
        ) from None
    return {split: cuts_of_part(manifests[split], "zh") for split in SPLITS}


if __name__ == "__main__":
    run(main)
