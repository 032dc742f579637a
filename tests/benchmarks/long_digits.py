"""Long strings of spoken digits as manifests: python tests/benchmarks/long_digits.py DIR

Recordings of egs/digits, joined to 1 to 22 digits for training and 19 to 21 for the test, about 10 s. Each word is
written as two, so that 10 s have 40 tokens, as sentences do.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from lhotse.cut import MixedCut, MonoCut

from recipes.prepare.corpus import Report, shared_corpus, write
from recipes.prepare.digits import open_digits
from recipes.prepare.strings import Strings, draw_strings

PAUSES = 0.0, 0.15
SETS = (
    Strings("train", 12_000, (2, 22), singles=3000, pauses=PAUSES),
    Strings("dev", 100, (2, 22), pauses=PAUSES),
    Strings("test", 100, (19, 21), pauses=PAUSES),
)
HALVES = {
    "zero": "ze ro", "one": "o ne", "two": "t wo", "three": "thr ee", "four": "fo ur",
    "five": "fi ve", "six": "si x", "seven": "se ven", "eight": "eigh t", "nine": "ni ne",
}  # fmt: skip


def in_halves(words: list[MonoCut], strings: Strings) -> Iterator[MixedCut]:
    for cut in draw_strings(words, strings, seed=1):
        for said in cut.tracks[1].cut.supervisions:
            said.text = " ".join(HALVES[word] for word in (said.text or "").split())
        yield cut


def main() -> None:
    out, report = Path(sys.argv[1]), Report()
    splits = open_digits(shared_corpus("en_fsdd"), out)
    for strings in SETS:
        write(in_halves(list(splits[strings.name]), strings), out, strings.name, report)
    print(report)


if __name__ == "__main__":
    main()
