"""The phonemes of a voice as a tokenizer, so that voices use the data pipeline of the recognisers."""

from pathlib import Path
from typing import Any

from speech.text.base import PAD, UNK, BaseTokenizer
from speech.text.files import read_part, read_tokens, told_of
from speech.text.phoneme_table import BOS, EOS, FILE, PhonemeTable, given, written


class PhonemeTokenizer(BaseTokenizer):
    """Texts are phonemes divided by blanks, `|` between words. The prompt of its texts is the start symbol alone."""

    kind = "phonemes"

    def __init__(self, table: PhonemeTable, language: str):
        specials = {PAD: 0, UNK: 0, BOS: 1, EOS: 2}  # an unknown phoneme is an error, never <unk>
        super().__init__(table.symbols, specials, eos=EOS, bos=BOS)
        self.table, self.languages = table, [language]

    @classmethod
    def from_folder(cls, folder: Path, settings: dict[str, Any]) -> "PhonemeTokenizer":
        data = read_part(folder, FILE)
        with told_of(FILE):
            table = PhonemeTable(read_tokens(data, ids_needed=True))
        return cls(table, str(settings.get("language", "en")))

    def _encode(self, text: str, language: str | None) -> list[int]:
        return self.table.encode(given(text))

    def _text(self, ids: list[int]) -> str:
        return written(self.pieces[i] for i in ids)

    def files(self) -> dict[str, bytes]:
        return {FILE: "".join(self.token_lines()).encode()}

    def settings(self) -> dict[str, Any]:
        return {"language": self.languages[0]}
