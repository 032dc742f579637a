"""OpenAI's audio API over an engine."""

import asyncio
import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any, TypeVar

import numpy as np
from fastapi import FastAPI, Form, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from serve.encoder import Encoder
from serve.engine import Engine, Listener, Speaker
from serve.errors import ApiError, install
from serve.flow import EVENTS, Body, Flow
from serve.forms import Recording, Text, VoiceId
from serve.gate import Gate
from speech.talker import Manner, Talker
from speech.transcriber import Transcriber
from speech.transcript import Transcript

SUBTITLES = {"srt": "application/x-subrip", "vtt": "text/vtt"}
Kind = TypeVar("Kind", Listener, Speaker)


def make_app(engine: Engine, keys: Sequence[str] = ()) -> FastAPI:
    """The application; without keys everybody may use it. It closes the engine when it ends."""
    limits = engine.limits

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(engine.close)

    parts: Any = {"max_files": limits.parts, "max_fields": limits.parts, "max_part_size": limits.field_bytes}
    app = FastAPI(title="Parlance", lifespan=lifespan, form_limits=parts)
    install(app)
    app.add_middleware(Gate, limits=limits, keys=keys, metrics=engine.metrics)

    def find(name: str) -> Listener | Speaker:
        if name not in engine.workers:
            there = ", ".join(engine.workers)
            raise ApiError(404, f"model '{name[:80]}' is not here; there are {there}", "model_not_found", "model")
        return engine.workers[name]

    def worker(name: str, kind: type[Kind]) -> Kind:
        if not isinstance(found := find(name), kind):
            what = "speaks" if isinstance(found, Speaker) else "transcribes"
            raise ApiError(400, f"model '{name}' {what}, it cannot do this", "invalid_value", "model")
        return found

    async def hear(asked: Recording, task: str) -> AsyncIterator[Response | Body]:
        listener, request, before = worker(asked.model, Listener), asked.request(task), ""
        sound = await engine.decode(asked.file.file, listener.model.sample_rate)
        with listener.ask(sound, request, asked.stream) as job:
            async for part in job:
                if asked.stream and part.text != before:
                    yield {"type": "transcript.text.delta", "delta": part.text[len(before) :]}
                before = part.text
            yield _done(part, listener.model, asked) if asked.stream else _answer(part, listener.model, asked, task)

    @app.post("/v1/audio/transcriptions")
    async def transcriptions(asked: Annotated[Recording, Form(media_type="multipart/form-data")]) -> Response:
        return Flow(hear(asked, "transcribe"), limits.request_seconds, EVENTS)

    @app.post("/v1/audio/translations")
    async def translations(asked: Annotated[Recording, Form(media_type="multipart/form-data")]) -> Response:
        return Flow(hear(asked, "translate"), limits.request_seconds, EVENTS)

    @app.post("/v1/audio/speech")
    async def speech(asked: Text) -> Response:
        speaker = worker(asked.model, Speaker)
        encoder = Encoder(asked.response_format, speaker.model.sample_rate)
        sound = _sound(speaker, asked.input, _manner(asked, speaker.model), encoder)
        parts, kind = (_said(sound), EVENTS) if asked.stream_format == "sse" else (sound, encoder.media_type)
        return Flow(parts, limits.request_seconds, kind, {"x-sample-rate": str(encoder.sample_rate)})

    def described(name: str) -> Body:
        return {"id": name, "object": "model", "created": 0, "owned_by": "parlance"}

    @app.get("/v1/models")
    async def models() -> Body:
        return {"object": "list", "data": [described(name) for name in engine.workers]}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> Body:
        return described(find(name).name)

    @app.get("/health")
    async def health() -> JSONResponse:
        well = all(one.thread.is_alive() for one in engine.workers.values())
        return JSONResponse({"status": "ok" if well else "failed"}, 200 if well else 503)

    @app.get("/metrics")
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(engine.metrics.text())

    return app


def _answer(transcript: Transcript, model: Transcriber, asked: Recording, task: str) -> Response:
    if asked.response_format == "text":
        return PlainTextResponse(f"{transcript.text}\n")
    if asked.response_format in SUBTITLES:
        return Response(transcript.render(asked.response_format), media_type=SUBTITLES[asked.response_format])
    body = {"text": transcript.text, "usage": {"type": "duration", "seconds": transcript.duration}}
    if asked.response_format == "verbose_json":
        body |= {"task": task, "language": transcript.language, "duration": transcript.duration}
        if "segment" in asked.times_of or not asked.times_of:
            body["segments"] = [asdict(segment) for segment in transcript.segments]
        if "word" in asked.times_of:
            body["words"] = [asdict(word) for word in transcript.words]
    return JSONResponse(body | _log_probs(transcript, model, asked))


def _log_probs(transcript: Transcript, model: Transcriber, asked: Recording) -> Body:
    """In the body of an answer, where it is asked for them."""
    if not asked.include:
        return {}
    sure = [x for s in transcript.segments for x in zip(s.tokens, s.token_logprobs, strict=True)]
    pieces = [(model.tokenizer.pieces[token], value) for token, value in sure]
    return {"logprobs": [{"token": p, "bytes": list(p.encode()), "logprob": value} for p, value in pieces]}


def _done(transcript: Transcript, model: Transcriber, asked: Recording) -> Body:
    heard, written = round(transcript.duration / model.frame_seconds), sum(len(s.tokens) for s in transcript.segments)
    usage = {"type": "tokens", "input_tokens": heard, "output_tokens": written, "total_tokens": heard + written}
    logprobs = _log_probs(transcript, model, asked)
    return {"type": "transcript.text.done", "text": transcript.text, "usage": usage, **logprobs}


def _manner(asked: Text, voice: Talker) -> Manner:
    """ApiError for what the voice cannot say so."""
    if asked.speed != 1 and "length_scale" not in voice.controls:
        raise ApiError(400, f"speed {asked.speed:g}: this voice has its own, leave it at 1", "invalid_value", "speed")
    name = asked.voice.id if isinstance(asked.voice, VoiceId) else asked.voice
    speakers = voice.parts.speakers
    return Manner(length_scale=1 / asked.speed, speaker=(name or None) if speakers else None, language=asked.language)


async def _sound(speaker: Speaker, text: str, manner: Manner, encoder: Encoder) -> AsyncIterator[bytes]:
    with speaker.ask(text, manner) as job:
        async for said in job:
            if data := await asyncio.to_thread(encoder.push, said.waveform):
                yield data
    if data := await asyncio.to_thread(encoder.push, np.zeros(0, np.float32), last=True):
        yield data


async def _said(sound: AsyncIterator[bytes]) -> AsyncIterator[Body]:
    async for part in sound:
        yield {"type": "speech.audio.delta", "audio": base64.b64encode(part).decode()}
    yield {"type": "speech.audio.done"}
