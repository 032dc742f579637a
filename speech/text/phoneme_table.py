"""The phonemes of a voice and their ids."""

import unicodedata
from collections.abc import Iterable, Sequence

from speech.errors import SpeechError
from speech.text.files import SPACE

PAD, BOS, EOS, BLANK = "_", "^", "$", " "  # ids 0 to 3, as in piper's map
BOUNDARY = "|"  # how the blank, which stands between words, is written among given phonemes
FILE = "tokens.txt"


class PhonemeTable:
    """`symbols` by id. `encode` gives the ids of the phonemes alone: no start, end or padding."""

    def __init__(self, symbols: Sequence[str]):
        self.symbols = list(symbols)
        if self.symbols[:4] != [PAD, BOS, EOS, BLANK]:
            raise SpeechError(f"phonemes begin with {self.symbols[:4]}, not with {[PAD, BOS, EOS, BLANK]}")
        self._ids = {symbol: i for i, symbol in enumerate(self.symbols)}

    @classmethod
    def build(cls, texts: Iterable[Iterable[str]]) -> "PhonemeTable":
        """From the phonemes of a corpus; the order of the texts does not matter."""
        found = {token for text in texts for token in text} - {BLANK}
        if reserved := sorted(found & {PAD, BOS, EOS, SPACE}):
            raise SpeechError(f"'{reserved[0]}' is no phoneme: it stands for padding, start, end or the blank")
        return cls([PAD, BOS, EOS, BLANK, *sorted(found)])

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, phonemes: Sequence[str]) -> list[int]:
        """SpeechError names the phonemes that the voice does not have."""
        if unknown := list(dict.fromkeys(p for p in phonemes if self._ids.get(p, 0) < 3)):
            named = " ".join(f"'{p[:20]}'" for p in unknown[:9])
            raise SpeechError(f"the voice has no phoneme {named}; say it in its {len(self) - 4} phonemes, see {FILE}")
        return [self._ids[p] for p in phonemes]


def given(text: str) -> list[str]:
    """Phonemes divided by blanks to tokens."""
    return [BLANK if token == BOUNDARY else unicodedata.normalize("NFC", token) for token in text.split()]


def written(tokens: Iterable[str]) -> str:
    """Tokens as `given` reads them."""
    return " ".join(BOUNDARY if token == BLANK else token for token in tokens)
