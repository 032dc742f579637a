"""Texts to sentences as a voice reads them: the ids of their phonemes, and the pauses that are asked for."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from speech.errors import SpeechError
from speech.text.phonemes import BLANK, MARKS, Phonemizer
from speech.text.sentences import sentences
from speech.text.spoken import shown
from speech.voice_parts import VoiceParts

PAUSE = re.compile(r"(\d{1,5}(?:\.\d{1,5})?)(ms|s)")  # between phonemes: `one [[500ms]] two`
MAX_PAUSE_SECONDS = 10.0  # of a sentence


@dataclass(frozen=True)
class Reading:
    """A sentence. The ids stand between those of start and end: of a sentence that is a pause alone, only these."""

    text: str
    phonemes: list[str]
    ids: list[int]  # [N + 2]
    pauses: dict[int, float]  # seconds of the ids whose length is given: those of blanks, of the start and of the end
    dropped: list[str]  # characters that have no sound here

    @property
    def silent(self) -> list[bool]:
        """[N + 2] True for blanks and punctuation."""
        return [False, *(token == BLANK or token in MARKS for token in self.phonemes), False]

    def given_frames(self, sample_rate: int, hop: int) -> list[int]:
        """[N + 2] frames of the pauses, at least one each, and 0 for what is to be predicted."""
        return [
            max(1, round(self.pauses[i] * sample_rate / hop)) if i in self.pauses else 0 for i in range(len(self.ids))
        ]


def read(text: str, parts: VoiceParts, language: str | None = None) -> list[Reading]:
    """The sentences of a text. SpeechError for one without words, and for phonemes that the voice does not have."""
    _, phonemizer = parts.phonemizer(language)
    found = [_sentence(piece, parts, phonemizer) for piece in sentences(text, phonemizer.language)]
    if not any(reading.phonemes for reading in found):
        raise SpeechError(f"nothing but pauses in '{shown(text)}'; give words to say")
    return found


def _sentence(text: str, parts: VoiceParts, phonemizer: Phonemizer) -> Reading:
    said, tokenizer = phonemizer.spoken(text), parts.tokenizer
    phonemes, pauses = _with_pauses(phonemizer(said.text), tokenizer.table.symbols)
    if sum(pauses.values()) > MAX_PAUSE_SECONDS:
        raise SpeechError(
            f"pauses of {sum(pauses.values()):g} s in '{shown(text)}' are above {MAX_PAUSE_SECONDS:g} s; make it two "
            f"sentences or shorten them"
        )
    ids = [tokenizer.bos_id, *tokenizer.table.encode(phonemes), tokenizer.eos_id]
    return Reading(text, phonemes, ids, pauses, said.dropped)


def _with_pauses(tokens: Iterable[str], symbols: list[str]) -> tuple[list[str], dict[int, float]]:
    """Each pause becomes the one blank at its place, as marks that the voice does not know; at the edges start and end
    stand for it.
    """
    out: list[str] = []
    pauses: dict[int, float] = {}
    for token in tokens:
        token = BLANK if token in MARKS and token not in symbols else token
        pause = PAUSE.fullmatch(token)
        if pause and token not in symbols:
            if out and out[-1] != BLANK:
                out.append(BLANK)
            pauses[len(out)] = pauses.get(len(out), 0.0) + float(pause[1]) / (1000 if pause[2] == "ms" else 1)
        elif token != BLANK or (out and out[-1] != BLANK):
            out.append(token)
    if out and out[-1] == BLANK:
        out.pop()  # its place is now that of the end
    return out, pauses
