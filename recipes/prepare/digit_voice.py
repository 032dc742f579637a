"""Strings of one speaker's digits -> manifests of a voice.

python -m recipes.prepare.digit_voice --speaker jackson --out DIR [--corpus DIR]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from recipes.prepare.corpus import make_folder, shared_corpus
from recipes.prepare.digits import download
from recipes.prepare.strings import Strings, draw_strings
from recipes.prepare.voice import add_phonemizer, of_speaker, phonemizer_of, write_voice
from speech.data.tsv import cuts_from_folder
from speech.errors import run

SETS = {"train": Strings("train", 1500, (2, 6), 300), "dev": Strings("dev", 100, (2, 6)),
        "test": Strings("test", 100, (2, 6))}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--corpus", type=Path, help="folder with manifest.tsv; default $SPEECH_CORPORA/en_fsdd, else a "
                        "download")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="folder for the manifests and voice/")
    parser.add_argument("--speaker", default="jackson")
    parser.add_argument("--seed", type=int, default=1, help="of the strings drawn")
    add_phonemizer(parser)
    args = parser.parse_args(argv)
    make_folder(args.out)
    splits = cuts_from_folder(args.corpus or shared_corpus("en_fsdd") or download(args.out))
    drawn = {
        split: list(draw_strings(list(of_speaker(splits[split], args.speaker, split)), strings, args.seed))
        for split, strings in SETS.items()
    }
    print(write_voice(drawn, args.out, phonemizer_of(args)))


if __name__ == "__main__":
    run(main)
