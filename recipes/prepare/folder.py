"""Any folder with a `manifest.tsv` -> train, dev and test manifests.

python -m recipes.prepare.folder --corpus DIR --out DIR --normalize en --max-seconds 20
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from recipes.prepare.corpus import prepare
from speech.data.tsv import cuts_from_folder
from speech.errors import run


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--corpus", type=Path, required=True, help="folder with manifest.tsv and its audio")
    parser.add_argument("--out", type=Path, required=True, help="folder for the manifests")
    parser.add_argument("--language", default="en", help="language of every utterance")
    parser.add_argument("--normalize", default="none", help="rule for the texts: none, en or zh")
    parser.add_argument("--min-seconds", type=float, default=0.1, help="shorter ones leave train and dev")
    parser.add_argument("--max-seconds", type=float, default=30.0, help="longer ones leave train and dev")
    args = parser.parse_args(argv)
    splits = cuts_from_folder(args.corpus, args.language)
    print(prepare(splits, args.out, args.normalize, args.min_seconds, args.max_seconds))


if __name__ == "__main__":
    run(main)
