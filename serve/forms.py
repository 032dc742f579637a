"""What clients may ask for, field by field."""

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Form, UploadFile
from pydantic import BaseModel, Field

from serve.errors import ApiError
from speech.request import Request, parse_hotwords

Granularity = Literal["word", "segment"]


@dataclass
class Recording:
    """Fields of a form; lists have the names of OpenAI's client, in brackets, or those without."""

    file: UploadFile
    model: Annotated[str, Form()]
    language: Annotated[str | None, Form(description="what is spoken (default: the model's)")] = None
    prompt: Annotated[str, Form(description="accepted, but these models know no context")] = ""
    response_format: Annotated[Literal["json", "text", "srt", "verbose_json", "vtt"], Form()] = "json"
    temperature: Annotated[float, Form(ge=0, le=1, description="accepted, but nothing is drawn at random")] = 0.0
    granularities: Annotated[list[Granularity], Form(alias="timestamp_granularities[]")] = ()  # type: ignore
    bare_granularities: Annotated[list[Granularity], Form(alias="timestamp_granularities")] = ()  # type: ignore
    keywords: Annotated[list[str], Form(alias="keywords[]", description="hot words, as `Nguyen` or `Nguyen:3`")] = ()  # type: ignore
    bare_keywords: Annotated[list[str], Form(alias="keywords")] = ()  # type: ignore
    include: Annotated[list[Literal["logprobs"]], Form(alias="include[]")] = ()  # type: ignore
    chunking: Annotated[str, Form(alias="chunking_strategy", description="any: leave out what is no speech")] = ""
    chunking_type: Annotated[str, Form(alias="chunking_strategy[type]")] = ""
    stream: Annotated[bool, Form()] = False

    @property
    def times_of(self) -> set[str]:
        return {*self.granularities, *self.bare_granularities}

    def request(self, task: str) -> Request:
        """ApiError for fields that do not go together."""
        if self.times_of and self.response_format != "verbose_json":
            message = f"timestamp_granularities: not in response_format {self.response_format}, only in verbose_json"
            raise ApiError(400, message, "invalid_value", "timestamp_granularities")
        if self.stream and self.response_format not in ("json", "text"):
            message = f"stream: not with response_format {self.response_format}, only with json or text"
            raise ApiError(400, message, "invalid_value", "stream")
        return Request(
            language=self.language,
            task=task,
            hotwords=parse_hotwords(",".join([*self.keywords, *self.bare_keywords])),
            word_timestamps="word" in self.times_of,
            vad=bool(self.chunking or self.chunking_type),
        )


class VoiceId(BaseModel):
    id: str


class Text(BaseModel):
    model: str
    input: str
    voice: str | VoiceId = ""
    """a speaker; where the voice has no names, any"""
    language: str | None = None
    """not in OpenAI's API: of the voice's languages (default: its first)"""
    instructions: str = ""
    """accepted, but these voices take none"""
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: float = Field(1.0, ge=0.25, le=4.0)
    stream_format: Literal["audio", "sse"] = "audio"
