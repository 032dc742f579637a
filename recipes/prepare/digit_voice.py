"""Strings of one speaker's digits -> manifests of a voice.

python -m recipes.prepare.digit_voice --speaker jackson --out DIR [--corpus DIR]
"""

from collections.abc import Sequence

from recipes.prepare.corpus import make_parser
from recipes.prepare.digits import CORPUS, open_digits
from recipes.prepare.strings import Strings, draw_strings
from recipes.prepare.voice import add_phonemizer, of_speaker, phonemizer_of, write_voice
from speech.errors import run

SETS = {"train": Strings("train", 1500, (2, 6), 300), "dev": Strings("dev", 100, (2, 6)),
        "test": Strings("test", 100, (2, 6))}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__, CORPUS, sample="en_fsdd")
    parser.add_argument("--speaker", default="jackson")
    parser.add_argument("--seed", type=int, default=1, help="of the strings drawn")
    add_phonemizer(parser)
    args = parser.parse_args(argv)
    splits = open_digits(args.corpus, args.out)
    drawn = {
        split: draw_strings(of_speaker(splits[split], args.speaker, split), strings, args.seed)
        for split, strings in SETS.items()
    }
    print(write_voice(drawn, args.out, phonemizer_of(args)))


if __name__ == "__main__":
    run(main)
