"""What a caller may ask a recogniser for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

WORD_TIMES = ("auto", "ctc", "tokens", "attention")


@dataclass(frozen=True)
class Request:
    """None means the model's own setting; for a threshold, that it is not looked at."""

    language: str | None = None
    task: str = "transcribe"
    target_language: str | None = None  # of a translation; English where it is not given
    beam_size: int | None = None
    length_penalty: float | None = None
    ctc_weight: float | None = None  # share of the CTC head in the scores of the search
    hotwords: Mapping[str, float] | Sequence[str] = ()  # words and phrases to expect, with or without a weight
    word_timestamps: bool = False  # list the words with their times
    # ctc: alignment on the CTC head; tokens: times that the decoder writes; attention: alignment on its attention;
    # auto: the first of these that the model has
    word_times: str = "auto"
    vad: bool = False  # leave out what is no speech, in short recordings as well
    compression_ratio_threshold: float | None = 2.4
    logprob_threshold: float | None = -1.0
    no_speech_threshold: float | None = 0.6
    ctc_agreement_threshold: float | None = 0.1


UNGUARDED = dict.fromkeys(field.name for field in fields(Request) if field.name.endswith("_threshold"))


def parse_hotwords(text: str) -> dict[str, float] | list[str]:
    """`Kubernetes, Nguyen:3` -> words, with weights if one has any."""
    from speech.search.hotwords import WEIGHT

    found: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        word, colon, weight = part.rpartition(":")
        try:
            found[word.strip() if colon else part] = float(weight) if colon else WEIGHT
        except ValueError:
            found[part] = WEIGHT
    return found
