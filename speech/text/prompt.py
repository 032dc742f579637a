"""The slots before the text that tell the decoder what to write."""

from dataclasses import dataclass, fields

from speech.errors import SpeechError
from speech.text.base import BOS, BaseTokenizer
from speech.text.canary import CONTEXT
from speech.text.firered import SOS
from speech.text.phoneme_table import BOS as START

TASKS = ("transcribe", "translate")
EMOTIONS = ("undefined", "neutral", "angry", "happy", "sad")
LANGUAGES = ("source_language", "target_language")
# symbols, and fields of Prompt in the order of their slots
FORMATS = {
    "canary": (BOS, "source_language", "task", "target_language", "punctuation"),
    "canary2": (CONTEXT, "context", BOS, "emotion", *LANGUAGES, "punctuation", "itn", "timestamp", "diarize"),
    "firered": (SOS,),
    "phonemes": (START,),
}
FLAGS = {"punctuation": "pnc", "itn": "itn", "timestamp": "timestamp", "diarize": "diarize"}


@dataclass(frozen=True)
class Prompt:
    """What a decoder can be asked for. A translation has another target language than its source."""

    task: str = "transcribe"
    source_language: str = "en"
    target_language: str = "en"
    punctuation: bool = False
    """with capitals"""
    context: str = ""
    """what was said before"""
    emotion: str = "undefined"
    itn: bool = False
    """inverse text normalisation: 21 for twenty-one"""
    timestamp: bool = False
    """marks of time around the words"""
    diarize: bool = False

    def ids(self, tokenizer: BaseTokenizer, format: str = "canary") -> list[int]:
        """SpeechError for an unknown value, and for one that the format has no slot for."""
        self._check(tokenizer, format)
        ids = list(tokenizer.prompt_lead)
        for slot in FORMATS[format]:
            if slot == "context":
                ids += tokenizer.encode_context(self.context, self.target_language)
            else:
                ids.append(tokenizer.special(self._symbol(slot)))
        return ids

    def _symbol(self, slot: str) -> str:
        if slot in FLAGS:
            return f"<|{FLAGS[slot]}|>" if getattr(self, slot) else f"<|no{FLAGS[slot]}|>"
        if slot == "emotion":
            return f"<|emo:{self.emotion}|>"
        return f"<|{getattr(self, slot)}|>" if slot == "task" or slot in LANGUAGES else slot

    def _check(self, tokenizer: BaseTokenizer, format: str) -> None:
        source, target = self.source_language, self.target_language
        for what, value, possible in (
            ("prompt format", format, FORMATS),
            ("task", self.task, TASKS),
            ("emotion", self.emotion, EMOTIONS),
            ("language", source, tokenizer.languages),
            ("language", target, tokenizer.languages),
        ):
            if value not in possible:
                raise SpeechError(f"{what} '{value}' is not one of {', '.join(possible)}")
        if (self.task == "translate") != (source != target):
            other = "the same language" if source != target else "another target language"
            raise SpeechError(f"task '{self.task}' from '{source}' to '{target}': it needs {other}")
        slots = FORMATS[format]
        if self.task == "translate" and not set(LANGUAGES) <= set(slots):
            raise SpeechError(f"prompt format '{format}' cannot ask for the task 'translate', only for 'transcribe'")
        for field in fields(self):
            asked = getattr(self, field.name) != field.default
            if asked and field.name not in slots and field.name not in ("task", *LANGUAGES):
                own = ", ".join(slot for slot in slots if not slot.startswith("<")) or "none"
                raise SpeechError(f"prompt format '{format}' has no slot for {field.name}, its slots are: {own}")
