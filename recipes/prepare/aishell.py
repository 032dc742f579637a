"""AISHELL-1, or its sample of two speakers -> train, dev and test manifests.

python -m recipes.prepare.aishell --corpus DIR --out DIR
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from lhotse import CutSet
from lhotse.recipes.aishell import prepare_aishell

from recipes.prepare.corpus import cuts_of_part, prepare, shared_corpus
from speech.data.tsv import SPLITS, cuts_from_folder
from speech.errors import DataError, SpeechError, run

TRANSCRIPTS = "data_aishell/transcript/aishell_transcript_v0.8.txt"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--corpus", type=Path, help="AISHELL-1 (the folder with data_aishell/) or a folder with "
                        "manifest.tsv; default $SPEECH_CORPORA/zh_aishell_sample")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="folder for the manifests")
    parser.add_argument("--min-seconds", type=float, default=0.5, help="shorter ones leave train and dev")
    parser.add_argument("--max-seconds", type=float, default=20.0, help="longer ones leave train and dev")
    args = parser.parse_args(argv)
    corpus = args.corpus or shared_corpus("zh_aishell_sample")
    if corpus is None:
        raise SpeechError(
            "no AISHELL corpus: fetch it from https://www.openslr.org/33 (15 GB), for example by `lhotse download "
            "aishell DIR`, and give DIR/aishell as --corpus"
        )
    whole = (corpus / "data_aishell").is_dir()
    splits = cuts_from_aishell(corpus) if whole else cuts_from_folder(corpus, "zh")
    print(prepare(splits, args.out, "zh", args.min_seconds, args.max_seconds))


def cuts_from_aishell(corpus: Path) -> dict[str, CutSet]:
    """Cuts by split, as lhotse reads them: `data_aishell/wav/<split>/<speaker>/*.wav` and one file of transcripts."""
    if not (corpus / TRANSCRIPTS).is_file():
        raise DataError(f"{corpus / TRANSCRIPTS} is missing; give the folder that holds data_aishell as --corpus")
    wav = corpus / "data_aishell/wav"
    if missing := [split for split in SPLITS if not any((wav / split).rglob("*.wav"))]:
        raise DataError(f"{wav / missing[0]}: no *.wav; unpack the archives of the speakers in data_aishell/wav")
    try:
        manifests = prepare_aishell(corpus.resolve())
    except AssertionError:  # lhotse's word for a split without utterances
        raise DataError(f"{wav}: a split has no *.wav with a line in {TRANSCRIPTS}; unpack it again") from None
    return {split: cuts_of_part(manifests[split], "zh") for split in SPLITS}


if __name__ == "__main__":
    run(main)
