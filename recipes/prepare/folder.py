"""Any folder with a `manifest.tsv` -> train, dev and test manifests.

python -m recipes.prepare.folder --corpus DIR --out DIR --normalize en --max-seconds 20
"""

from collections.abc import Sequence

from recipes.prepare.corpus import make_parser, prepare
from speech.data.tsv import cuts_from_folder
from speech.errors import run


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__, "folder with manifest.tsv and its audio", required=True, seconds=(0.1, 30.0))
    parser.add_argument("--language", default="en", help="language of every utterance")
    parser.add_argument("--normalize", default="none", help="rule for the texts: none, en or zh")
    args = parser.parse_args(argv)
    splits = cuts_from_folder(args.corpus, args.language)
    print(prepare(splits, args.out, args.normalize, args.min_seconds, args.max_seconds))


if __name__ == "__main__":
    run(main)
