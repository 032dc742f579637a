"""The phonemes of a voice and their ids."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from speech.errors import SpeechError
from speech.text.spe import read_file

PAD, BOS, EOS, BLANK = "_", "^", "$", " "  # ids 0 to 3, as in piper's map
FILE = "tokens.txt"
SPACE = "<space>"  # how a file writes the blank


class PhonemeTable:
    """`symbols` by id. `encode` gives the ids of the phonemes alone: no start, end or padding."""

    def __init__(self, symbols: Sequence[str]):
        self.symbols = list(symbols)
        if self.symbols[:4] != [PAD, BOS, EOS, BLANK]:
            raise SpeechError(f"phonemes begin with {self.symbols[:4]}, not with {[PAD, BOS, EOS, BLANK]}")
        for i, symbol in enumerate(self.symbols):
            if symbol != BLANK and (symbol.split() != [symbol] or symbol == SPACE):
                raise SpeechError(f"phoneme {i}: {symbol[:40]!r} is empty or has a blank")
        self._ids = {symbol: i for i, symbol in enumerate(self.symbols)}
        if len(self._ids) < len(self.symbols):
            twice = next(symbol for i, symbol in enumerate(self.symbols) if self._ids[symbol] != i)
            raise SpeechError(f"phoneme {twice[:40]!r} has two ids")

    @classmethod
    def build(cls, texts: Iterable[Iterable[str]]) -> "PhonemeTable":
        """From the phonemes of a corpus; the order of the texts does not matter."""
        found = {token for text in texts for token in text} - {BLANK}
        if reserved := sorted(found & {PAD, BOS, EOS}):
            raise SpeechError(f"'{reserved[0]}' is no phoneme: it stands for padding, start or end")
        return cls([PAD, BOS, EOS, BLANK, *sorted(found)])

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, phonemes: Sequence[str]) -> list[int]:
        """SpeechError names the phonemes that the voice does not have."""
        if unknown := list(dict.fromkeys(p for p in phonemes if self._ids.get(p, 0) < 3)):
            named = " ".join(f"'{p[:20]}'" for p in unknown[:9])
            raise SpeechError(f"the voice has no phoneme {named}; say it in its {len(self) - 4} phonemes, see {FILE}")
        return [self._ids[p] for p in phonemes]

    def save(self, folder: str | Path) -> None:
        """Write tokens.txt, a line `symbol id` each."""
        lines = (f"{SPACE if symbol == BLANK else symbol} {i}\n" for i, symbol in enumerate(self.symbols))
        (Path(folder) / FILE).write_text("".join(lines), encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> "PhonemeTable":
        """SpeechError names the line that is no symbol with the id that is due."""
        path = Path(folder) / FILE
        try:
            lines = read_file(path).decode("utf-8").split("\n")
        except UnicodeDecodeError:
            raise SpeechError(f"{path}: not UTF-8") from None
        except SpeechError as error:
            raise SpeechError(f"{path}: {error}") from None
        symbols: list[str] = []
        for i, line in enumerate(lines[:-1] if not lines[-1] else lines):
            symbol, blank, number = line.rstrip("\r").rpartition(" ")
            if not blank or number != str(i):
                raise SpeechError(f"{path} line {i + 1}: {line[:60]!r} is not a phoneme and its id {i}")
            symbols.append(BLANK if symbol == SPACE else symbol)
        try:
            return cls(symbols)
        except SpeechError as error:
            raise SpeechError(f"{path}: {error}") from None
