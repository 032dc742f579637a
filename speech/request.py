"""What a caller may ask a recogniser for."""

from dataclasses import dataclass

WORD_TIMES = ("auto", "ctc", "tokens", "attention")


@dataclass(frozen=True)
class Request:
    """What a caller may ask for; None means the model's own setting."""

    language: str | None = None
    task: str = "transcribe"
    target_language: str | None = None
    """of a translation; English where it is not given"""
    beam_size: int | None = None
    length_penalty: float | None = None
    word_timestamps: bool = False
    """list the words with their times"""
    word_times: str = "auto"
    """ctc: alignment on the CTC head; tokens: times that the decoder writes; attention: alignment on its attention;
    auto: the first of these that the model has"""
    vad: bool = False
    """leave out what is no speech, in short recordings as well"""
