"""Error rates."""

from collections.abc import Sequence
from dataclasses import dataclass

import jiwer

CHARACTER_LANGUAGES = ("zh", "ja", "ko")


@dataclass(frozen=True)
class Scored:
    """One utterance."""

    id: str
    reference: str
    hypothesis: str
    errors: int
    tokens: int


@dataclass(frozen=True)
class ErrorRates:
    """Edits summed over the utterances that have a reference; the others are only counted."""

    unit: str
    substitutions: int
    deletions: int
    insertions: int
    tokens: int
    empty_references: int
    utterances: list[Scored]

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors / reference tokens."""
        return self.errors / max(1, self.tokens)

    @property
    def sentence_rate(self) -> float:
        return sum(u.errors > 0 for u in self.utterances) / max(1, len(self.utterances))

    def worst(self, count: int) -> list[Scored]:
        return sorted((u for u in self.utterances if u.errors), key=lambda u: (-u.errors, u.id))[:count]


def _spaced(text: str, unit: str) -> str:
    """Tokens of the unit with single blanks between."""
    return " ".join("".join(text.split()) if unit == "char" else text.split())


def error_rates(ids: Sequence[str], references: Sequence[str], hypotheses: Sequence[str], unit: str) -> ErrorRates:
    """WER for unit "word", CER (blanks left out) for unit "char"."""
    edits, scored, empty = [], [], 0
    for name, reference, hypothesis in zip(ids, references, hypotheses, strict=True):
        if not reference.strip():
            empty += 1
            continue
        out = jiwer.process_words(_spaced(reference, unit), _spaced(hypothesis, unit))
        errors = out.substitutions + out.deletions + out.insertions
        scored.append(Scored(name, reference, hypothesis, errors, out.hits + out.substitutions + out.deletions))
        edits.append(out)
    return ErrorRates(
        unit,
        substitutions=sum(e.substitutions for e in edits),
        deletions=sum(e.deletions for e in edits),
        insertions=sum(e.insertions for e in edits),
        tokens=sum(u.tokens for u in scored),
        empty_references=empty,
        utterances=scored,
    )
