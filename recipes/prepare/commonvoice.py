"""Mozilla Common Voice -> train, dev and test manifests.

python -m recipes.prepare.commonvoice --corpus cv-corpus-XX/en --out DIR
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lhotse import CutSet

from recipes.prepare.corpus import make_parser, prepare
from speech.data.tsv import SPLITS, Utterance, audio_path, cuts_from_folder, make_cuts, read_table
from speech.errors import SpeechError, run


def main(argv: Sequence[str] | None = None) -> None:
    corpus = "a release's language folder (clips/, train.tsv, ...) or a folder with manifest.tsv"
    parser = make_parser(__doc__, corpus, sample="en_commonvoice1_test", seconds=(0.5, 20.0))
    parser.add_argument("--language", default="en", help="language of every utterance")
    parser.add_argument("--normalize", default="en", help="rule for the texts: none, en or zh")
    args = parser.parse_args(argv)
    if args.corpus is None:
        raise SpeechError(
            "no Common Voice corpus: download a release from https://commonvoice.mozilla.org/datasets, unpack it and "
            "give its language folder (the one with clips/ and train.tsv) as --corpus"
        )
    cuts_from = cuts_from_release if (args.corpus / "clips").is_dir() else cuts_from_folder
    splits = cuts_from(args.corpus, args.language)
    print(prepare(splits, args.out, args.normalize, args.min_seconds, args.max_seconds))


def cuts_from_release(corpus: Path, language: str) -> dict[str, CutSet]:
    """Cuts by split of a release: `clips/*.mp3`, and train.tsv, dev.tsv, test.tsv as Common Voice split them."""
    return {split: make_cuts(_rows(corpus, split, language), f"{corpus.name} {split}") for split in SPLITS}


def _rows(corpus: Path, split: str, language: str) -> Iterator[Utterance]:
    table = corpus / f"{split}.tsv"
    for number, row in read_table(table, ("client_id", "path", "sentence")):
        clip = audio_path(corpus.resolve() / "clips", row["path"], f"{table}, line {number}")
        yield Utterance(clip.stem, clip, row["sentence"], row["client_id"], language)


if __name__ == "__main__":
    run(main)
