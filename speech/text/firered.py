"""The tokenizer of FireRedASR-AED (arXiv 2501.14350): Chinese characters and English pieces, ids from a dictionary."""

import re
from pathlib import Path
from typing import Any

from speech.errors import SpeechError
from speech.text.base import SETTINGS, BaseTokenizer
from speech.text.spe import open_spe, read_part

DICTIONARY, MODEL = "dict.txt", "train_bpe1000.model"
SOS, FIRERED_EOS, BLANK = "<sos>", "<eos>", "<blank>"
SPECIAL = re.compile(r"<\w+>")
LINE_END = re.compile(r"\r\n|\r|\n")  # str.splitlines also parts at characters that a dictionary may hold
HAN = re.compile(r"([\u3400-\u4dbf\u4e00-\u9fff])")
PUNCTUATION = str.maketrans(dict.fromkeys("，。？！,.?!", " "))


def read_dictionary(data: bytes) -> list[str]:
    """Tokens by id. A line is `token id` or `token`; `<space>` or an empty line is a blank.

    SpeechError names the line that is not UTF-8, repeats a token, or has an id out of order.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SpeechError(f"{DICTIONARY} line {line}: not UTF-8") from None
    lines = LINE_END.split(text)
    if not lines[-1]:
        lines.pop()
    places: dict[str, int] = {}
    for i, line in enumerate(lines):
        fields = line.split()
        token = fields[0] if fields and fields[0] != "<space>" else " "
        if len(fields) > 2:
            fault = f"{line[:60]!r} is not a token and its id"
        elif len(fields) == 2 and fields[1] != str(i):
            fault = f"id {fields[1][:20]!r} where {i} is due; ids count from 0 without a gap"
        elif token in places:
            fault = f"token {token[:60]!r} stands in line {places[token] + 1} too"
        else:
            places[token] = i
            continue
        raise SpeechError(f"{DICTIONARY} line {i + 1}: {fault}")
    if not places:
        raise SpeechError(f"{DICTIONARY} is empty")
    return list(places)


class FireRedTokenizer(BaseTokenizer):
    """Text loses case, punctuation, and blanks beside Chinese; `lowercase` writes English as version 2 does.

    The SentencePiece model only splits: pieces are looked up by name, and `<unk>` stands for those not found.
    """

    kind = "firered"
    blank_id: int

    def __init__(self, dictionary: bytes | str, model: bytes, lowercase: bool = False):
        self._dictionary = dictionary.encode() if isinstance(dictionary, str) else dictionary
        self._model, self.lowercase = model, lowercase
        pieces = read_dictionary(self._dictionary)
        specials = {piece: i for i, piece in enumerate(pieces) if SPECIAL.fullmatch(piece)}
        self._ids = {piece: i for i, piece in enumerate(pieces) if piece not in specials}
        self._sp = open_spe(model, MODEL)
        try:
            super().__init__(pieces, specials, eos=FIRERED_EOS, bos=SOS)
            self.blank_id = self.special(BLANK)
        except SpeechError as error:
            raise SpeechError(f"{DICTIONARY}: {error}") from None
        self.languages = ["zh", "en"]  # told apart by the model itself

    @classmethod
    def from_folder(cls, folder: Path, settings: dict[str, Any]) -> "FireRedTokenizer":
        """What `save` wrote; nothing in it is trusted."""
        lowercase = settings.get("lowercase", False)
        if not isinstance(lowercase, bool):
            raise SpeechError(f"{SETTINGS}: lowercase {lowercase!r} is not true or false")
        return cls(read_part(folder, DICTIONARY), read_part(folder, MODEL), lowercase)

    def files(self) -> dict[str, bytes]:
        return {DICTIONARY: self._dictionary, MODEL: self._model}

    def settings(self) -> dict[str, Any]:
        return {"lowercase": self.lowercase}

    def _encode(self, text: str, language: str | None) -> list[int]:
        tokens: list[str] = []
        for span in HAN.split(text.upper().translate(PUNCTUATION)):
            tokens += [span] if HAN.fullmatch(span) else self._sp.encode(span.strip(), out_type=str)
        return [self._ids.get(token, self.unk_id) for token in tokens]

    def _text(self, ids: list[int]) -> str:
        text = super()._text(ids)
        return text.lower() if self.lowercase else text
