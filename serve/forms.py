"""What clients may ask for, field by field."""

from typing import Literal

from fastapi import UploadFile
from pydantic import AliasChoices, BaseModel, Field

from serve.errors import ApiError
from speech.request import Request, parse_hotwords


def _listed(name: str) -> AliasChoices:
    """OpenAI's client puts brackets behind the names of lists, people do not."""
    return AliasChoices(f"{name}[]", name)


class Recording(BaseModel):
    file: UploadFile
    model: str
    language: str | None = Field(None, description="what is spoken (default: the model's)")
    prompt: str = Field("", description="accepted, but these models know no context")
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt"] = "json"
    temperature: float = Field(0.0, ge=0, le=1, description="accepted, but nothing is drawn at random")
    times_of: list[Literal["word", "segment"]] = Field([], validation_alias=_listed("timestamp_granularities"))
    keywords: list[str] = Field([], validation_alias=_listed("keywords"), description="hot words, as `Nguyen:3`")
    include: list[Literal["logprobs"]] = Field([], validation_alias=_listed("include"))
    chunking: str = Field("", validation_alias=AliasChoices("chunking_strategy", "chunking_strategy[type]"))
    stream: bool = False

    def request(self, task: str) -> Request:
        """ApiError for fields that do not go together."""
        if self.times_of and self.response_format != "verbose_json":
            message = f"timestamp_granularities: not in response_format {self.response_format}, only in verbose_json"
            raise ApiError(400, message, "invalid_value", "timestamp_granularities")
        if self.stream and (self.response_format not in ("json", "text") or task == "translate"):
            message = (
                f"stream: not of translations, and not with response_format {self.response_format}, only json or text"
            )
            raise ApiError(400, message, "invalid_value", "stream")
        return Request(
            language=self.language,
            task=task,
            hotwords=parse_hotwords(",".join(self.keywords)),
            word_timestamps="word" in self.times_of,
            vad=bool(self.chunking),
        )


class VoiceId(BaseModel):
    id: str


class Text(BaseModel):
    model: str
    input: str
    voice: str | VoiceId = ""  # a speaker; where the voice has no names, any
    language: str | None = None  # not in OpenAI's API: of the voice's languages (default: its first)
    instructions: str = ""  # accepted, but these voices take none
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: float = Field(1.0, ge=0.25, le=4.0)
    stream_format: Literal["audio", "sse"] = "audio"
