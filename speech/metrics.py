"""Error rates and speed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
    wrong_utterances: int
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
        return self.wrong_utterances / max(1, len(self.utterances))

    def worst(self, count: int) -> list[Scored]:
        return sorted((u for u in self.utterances if u.errors), key=lambda u: (-u.errors, u.id))[:count]


def error_rates(ids: Sequence[str], references: Sequence[str], hypotheses: Sequence[str], unit: str) -> ErrorRates:
    """WER for unit "word", CER (blanks left out) for unit "char"."""
    sums, tokens, wrong, empty = [0, 0, 0], 0, 0, 0
    scored = []
    for name, reference, hypothesis in zip(ids, references, hypotheses, strict=True):
        pair = [reference, hypothesis]
        if unit == "char":
            pair = [" ".join("".join(text.split())) for text in pair]
        if not pair[0].split():
            empty += 1
            continue
        out = jiwer.process_words(*pair)
        edits = [out.substitutions, out.deletions, out.insertions]
        sums = [a + b for a, b in zip(sums, edits, strict=True)]
        count = len(pair[0].split())
        tokens, wrong = tokens + count, wrong + (sum(edits) > 0)
        scored.append(Scored(name, reference, hypothesis, sum(edits), count))
    return ErrorRates(unit, *sums, tokens, wrong, empty, scored)


def write_trn(path: str | Path, ids: Sequence[str], speakers: Sequence[str], texts: Sequence[str]) -> None:
    """sclite's format: `text (speaker-utterance)`."""
    lines = [f"{t} ({s}-{i})\n" for i, s, t in zip(ids, speakers, texts, strict=True)]
    Path(path).write_text("".join(lines), encoding="utf-8")


def rtfx(audio_seconds: float, wall_seconds: float) -> float:
    """Audio seconds per wall second of preprocessing, decoding and detokenisation (Open ASR leaderboard)."""
    return audio_seconds / max(wall_seconds, 1e-9)
