"""The tokenizer of FireRedASR-AED (arXiv 2501.14350): Chinese characters and English pieces, ids from a dictionary."""

import re
from pathlib import Path
from typing import Any

from speech.errors import SpeechError
from speech.text.base import SETTINGS, BaseTokenizer
from speech.text.files import read_part, read_tokens, told_of
from speech.text.spe import open_spe

DICTIONARY, MODEL = "dict.txt", "train_bpe1000.model"
SOS, FIRERED_EOS, BLANK = "<sos>", "<eos>", "<blank>"
SPECIAL = re.compile(r"<\w+>")
HAN = re.compile(r"([\u3400-\u4dbf\u4e00-\u9fff])")
PUNCTUATION = str.maketrans(dict.fromkeys("，。？！,.?!", " "))


class FireRedTokenizer(BaseTokenizer):
    """Text loses case, punctuation, and blanks beside Chinese; `lowercase` writes English as version 2 does.

    The SentencePiece model only splits: pieces are looked up by name, and `<unk>` stands for those not found.
    """

    kind = "firered"
    blank_id: int

    def __init__(self, dictionary: bytes | str, model: bytes, lowercase: bool = False):
        self._dictionary = dictionary.encode() if isinstance(dictionary, str) else dictionary
        self._model, self.lowercase = model, lowercase
        self._sp = open_spe(model, MODEL)
        with told_of(DICTIONARY):
            pieces = read_tokens(self._dictionary)
            specials = {piece: i for i, piece in enumerate(pieces) if SPECIAL.fullmatch(piece)}
            super().__init__(pieces, specials, eos=FIRERED_EOS, bos=SOS)
            self.blank_id = self.special(BLANK)
        self._ids = {piece: i for i, piece in enumerate(pieces) if piece not in specials}
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
