"""Prompt slots in front of the text, after Canary's format: what to do, in which languages, with punctuation or not."""

from dataclasses import dataclass

from speech.errors import SpeechError
from speech.text.tokenizer import Tokenizer

TASKS = ("transcribe", "translate")


@dataclass(frozen=True)
class Prompt:
    task: str = "transcribe"
    source_language: str = "en"
    target_language: str = "en"
    punctuation: bool = False

    def ids(self, tokenizer: Tokenizer) -> list[int]:
        """`<|startoftranscript|>` source task target pnc."""
        if self.task not in TASKS:
            raise SpeechError(f"task {self.task!r} is unknown; there are {', '.join(TASKS)}")
        pnc = "<|pnc|>" if self.punctuation else "<|nopnc|>"
        slots = (f"<|{self.source_language}|>", f"<|{self.task}|>", f"<|{self.target_language}|>", pnc)
        return [tokenizer.bos_id, *(tokenizer.special(slot) for slot in slots)]
