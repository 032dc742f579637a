"""What a voice knows of text and people: its phonemes, how each of its languages is read, the names of its speakers."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from speech.errors import SpeechError
from speech.text.files import read_json, told_of
from speech.text.load import load_tokenizer
from speech.text.phoneme_tokenizer import PhonemeTokenizer
from speech.text.phonemes import Phonemizer, load_phonemizers, save_phonemizers

SPEAKERS = "speakers.json"
SHOWN, MAX_NAME = 40, 100  # names in an error; characters of a name


@dataclass(frozen=True)
class VoiceParts:
    """Places in `phonemizers` and `speakers` are those of the model's embeddings; the first language is the default."""

    tokenizer: PhonemeTokenizer
    phonemizers: list[Phonemizer]
    speakers: list[str] = field(default_factory=list)  # empty for one voice without a name

    def __post_init__(self) -> None:
        if not self.phonemizers:
            raise SpeechError("a voice needs a phonemizer, it has none")
        _different("language", self.languages)
        _different("speaker", self.speakers)
        for name in self.speakers:
            if name != name.strip() or not name.isprintable() or not 0 < len(name) <= MAX_NAME:
                raise SpeechError(f"speaker {name[:SHOWN]!r} is no name: 1 to {MAX_NAME} characters, no blank around")

    @property
    def languages(self) -> list[str]:
        return [phonemizer.language for phonemizer in self.phonemizers]

    def phonemizer(self, language: str | None) -> tuple[int, Phonemizer]:
        """Id of a language and how it is read; None is the first."""
        i = 0 if language is None else _place("language", language, self.languages)
        return i, self.phonemizers[i]

    def speaker_id(self, name: str | None) -> int:
        """None where there is one speaker; where there are several, one must be named."""
        if name is None and len(self.speakers) > 1:
            raise SpeechError(f"the voice has {len(self.speakers)} speakers: set speaker to {_listed(self.speakers)}")
        return 0 if name is None else _place("speaker", name, self.speakers)


def save_parts(folder: str | Path, parts: VoiceParts) -> None:
    """Write the tokenizer's files, phonemizer.json and, where speakers have names, speakers.json."""
    folder = Path(folder)
    parts.tokenizer.save(folder)
    save_phonemizers(folder, parts.phonemizers)
    if parts.speakers:
        names = json.dumps(parts.speakers, indent=1, ensure_ascii=False)
        (folder / SPEAKERS).write_text(names + "\n", encoding="utf-8")
    else:
        (folder / SPEAKERS).unlink(missing_ok=True)


def load_parts(folder: str | Path) -> VoiceParts:
    """Nothing in the files is trusted: one SpeechError names what is missing or wrong."""
    folder = Path(folder)
    tokenizer = load_tokenizer(folder)
    if not isinstance(tokenizer, PhonemeTokenizer):
        raise SpeechError(f"voice folder {folder}: its tokenizer has no phonemes")
    speakers = read_json(folder, SPEAKERS) if (folder / SPEAKERS).exists() else []
    if not isinstance(speakers, list) or not all(isinstance(name, str) for name in speakers):
        raise SpeechError(f"{folder / SPEAKERS}: not a list of names")
    with told_of(f"voice folder {folder}"):
        return VoiceParts(tokenizer, load_phonemizers(folder), speakers)


def _different(what: str, names: Sequence[str]) -> None:
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise SpeechError(f"{what} '{twice[0][:SHOWN]}' stands in the voice twice")


def _place(what: str, name: str, names: Sequence[str]) -> int:
    if name in names:
        return names.index(name)
    there = f"is none of {_listed(names)}" if names else f"is unknown: the voice has one {what} without a name"
    raise SpeechError(f"{what} '{name[:SHOWN]}' {there}")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
