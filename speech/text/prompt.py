"""The slots before the text that tell the decoder what to write (Canary's first prompt format)."""

from dataclasses import dataclass

from speech.errors import SpeechError
from speech.text.tokenizer import BOS, Tokenizer

TASKS = ("transcribe", "translate")


@dataclass(frozen=True)
class Prompt:
    task: str = "transcribe"
    source_language: str = "en"
    target_language: str = "en"
    punctuation: bool = False

    def ids(self, tokenizer: Tokenizer) -> list[int]:
        """Five ids: start, source language, task, target language, punctuation. SpeechError for an unknown value."""
        if self.task not in TASKS:
            raise SpeechError(f"task '{self.task}' is not one of {', '.join(TASKS)}")
        for language in (self.source_language, self.target_language):
            if language not in tokenizer.languages:
                raise SpeechError(f"language '{language}' is not one of {', '.join(tokenizer.languages)}")
        names = (
            BOS,
            f"<|{self.source_language}|>",
            f"<|{self.task}|>",
            f"<|{self.target_language}|>",
            "<|pnc|>" if self.punctuation else "<|nopnc|>",
        )
        return [tokenizer.special(name) for name in names]
