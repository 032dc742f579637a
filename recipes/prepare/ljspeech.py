"""LJSpeech (https://keithito.com/LJ-Speech-Dataset) -> manifests of a voice.

python -m recipes.prepare.ljspeech --corpus LJSpeech-1.1 --out DIR
"""

from collections.abc import Sequence
from pathlib import Path

from lhotse import CutSet
from lhotse.recipes.ljspeech import prepare_ljspeech

from recipes.prepare.corpus import cuts_of_part, make_parser
from recipes.prepare.voice import add_phonemizer, phonemizer_of, write_voice
from speech.data.tsv import cuts_from_folder
from speech.errors import DataError, SpeechError, run

HELD_OUT = 300 / 13100  # for dev and for test each, as many as FastSpeech's (arXiv 1905.09263)


def main(argv: Sequence[str] | None = None) -> None:
    corpus = "folder with metadata.csv and wavs/, or with manifest.tsv"
    parser = make_parser(__doc__, corpus, sample="en_ljspeech_385")
    add_phonemizer(parser)
    args = parser.parse_args(argv)
    if args.corpus is None:
        raise SpeechError("no LJSpeech corpus: fetch it, as by `lhotse download ljspeech DIR`, and give it as --corpus")
    whole = (args.corpus / "metadata.csv").is_file()
    splits = cuts_from_ljspeech(args.corpus) if whole else cuts_from_folder(args.corpus, args.language)
    print(write_voice(splits, args.out, phonemizer_of(args)))


def cuts_from_ljspeech(corpus: Path) -> dict[str, CutSet]:
    """Cuts with the text in words, by split: the last ids are test, those before them dev."""
    try:
        part = prepare_ljspeech(corpus.resolve())
    except ValueError:  # lhotse's word for a line that is not three fields
        raise DataError(f"{corpus / 'metadata.csv'}: a line is not id|text|text in words; fetch it again") from None
    cuts = list(cuts_of_part(part, "en"))
    held = max(1, round(HELD_OUT * len(cuts)))
    if len(cuts) < 3:
        raise DataError(f"{corpus / 'wavs'}: {len(cuts)} of the recordings of metadata.csv; unpack the archive again")
    cuts = [cut.map_supervisions(lambda s: s.transform_text(lambda _: s.custom["normalized_text"])) for cut in cuts]
    parts = {"train": cuts[: -2 * held], "dev": cuts[-2 * held : -held], "test": cuts[-held:]}
    return {split: CutSet.from_cuts(part) for split, part in parts.items()}


if __name__ == "__main__":
    run(main)
