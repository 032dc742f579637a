"""The phonemes of a voice as a tokenizer, so that voices use the data pipeline of the recognisers."""

from pathlib import Path
from typing import Any

from speech.text.base import PAD, UNK, BaseTokenizer
from speech.text.phoneme_table import BOS, EOS, FILE, PhonemeTable


class PhonemeTokenizer(BaseTokenizer):
    """Texts are phonemes divided by blanks, `|` between words. The prompt of its texts is the start symbol alone."""

    kind = "phonemes"

    def __init__(self, table: PhonemeTable, language: str):
        specials = {PAD: 0, UNK: 0, BOS: 1, EOS: 2}  # an unknown phoneme is an error, never <unk>
        super().__init__(table.symbols, specials, eos=EOS, bos=BOS)
        self.table, self.languages = table, [language]

    def _encode(self, text: str, language: str | None) -> list[int]:
        from speech.text.phonemes import given  # recognisers load their tokenizers without the rules of reading aloud

        return self.table.encode(given(text))

    def _text(self, ids: list[int]) -> str:
        return written([self.pieces[i] for i in ids])

    def files(self) -> dict[str, bytes]:
        return {FILE: "".join(self.token_lines()).encode()}

    def settings(self) -> dict[str, Any]:
        return {"language": self.languages[0]}

    @classmethod
    def from_folder(cls, folder: str | Path, settings: dict[str, Any]) -> "PhonemeTokenizer":
        return cls(PhonemeTable.load(folder), str(settings.get("language", "en")))


def written(tokens: list[str]) -> str:
    """Tokens as `speech.text.phonemes.given` reads them."""
    from speech.text.phonemes import BLANK, BOUNDARY

    return " ".join(BOUNDARY if token == BLANK else token for token in tokens)
