"""OpenAI's audio API over an engine."""

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any, TypeVar

import numpy as np
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse

from serve.encoder import Encoder
from serve.engine import Engine, Job, Listener, Speaker
from serve.errors import ApiError, install, told
from serve.forms import Recording, Text, VoiceId
from serve.gate import Gate
from serve.sandbox import Sandbox
from speech.talker import Manner
from speech.text.base import BaseTokenizer
from speech.transcript import Transcript

SUBTITLES = {"srt": "application/x-subrip", "vtt": "text/vtt"}
EVENTS, END = "text/event-stream", "data: [DONE]\n\n"
Kind = TypeVar("Kind", Listener, Speaker)
T = TypeVar("T")


def make_app(engine: Engine, keys: Sequence[str] = ()) -> FastAPI:
    """The application; without keys everybody may use it. It closes the engine when it ends."""
    limits, sandbox = engine.limits, Sandbox(engine.limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(engine.close)
        await asyncio.to_thread(sandbox.close)

    app = FastAPI(
        title="Parlance",
        lifespan=lifespan,
        form_limits={"max_files": limits.parts, "max_fields": limits.parts, "max_part_size": limits.field_bytes},
    )
    install(app)
    app.add_middleware(Gate, limits=limits, keys=keys, metrics=engine.metrics)

    def worker(name: str, kind: type[Kind]) -> Kind:
        found = engine.workers.get(name)
        if found is None:
            there = ", ".join(engine.workers)
            raise ApiError(404, f"model '{name[:80]}' is not here; there are {there}", "model_not_found", "model")
        if not isinstance(found, kind):
            what = "speaks" if isinstance(found, Speaker) else "transcribes"
            raise ApiError(400, f"model '{name}' {what}, it cannot do this", "invalid_value", "model")
        return found

    async def while_there(client: Request, work: Awaitable[T]) -> T:
        """The result, unless the client leaves or it takes too long: the work is cancelled then."""
        task, gone = asyncio.ensure_future(work), asyncio.create_task(_gone(client))
        try:
            await asyncio.wait({task, gone}, timeout=limits.request_seconds, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            if gone.done():
                raise ApiError(499, "the client has left")
            raise ApiError(503, f"not done within {limits.request_seconds:g} s", "timeout")
        finally:
            task.cancel()
            gone.cancel()

    async def hear(client: Request, asked: Recording, task: str) -> tuple[Transcript, BaseTokenizer]:
        listener, request = worker(asked.model, Listener), asked.request(task)

        async def work() -> Transcript:
            sound = await asyncio.to_thread(sandbox.decode, asked.file.file, listener.model.sample_rate)
            with listener.add(Job(sound, request)) as job:
                return await job.next()

        return await while_there(client, work()), listener.model.tokenizer

    @app.post("/v1/audio/transcriptions")
    async def transcriptions(client: Request, asked: Annotated[Recording, Depends()]) -> Response:
        transcript, tokenizer = await hear(client, asked, "transcribe")
        if asked.stream:
            return StreamingResponse(_told_in_parts(transcript), media_type=EVENTS)
        return _answer(transcript, tokenizer, asked, "transcribe")

    @app.post("/v1/audio/translations")
    async def translations(client: Request, asked: Annotated[Recording, Depends()]) -> Response:
        if asked.stream:
            raise ApiError(400, "stream: translations come whole", "invalid_value", "stream")
        return _answer(*await hear(client, asked, "translate"), asked, "translate")

    @app.post("/v1/audio/speech")
    async def speech(client: Request, asked: Text) -> Response:
        speaker = worker(asked.model, Speaker)
        job = Job(asked.input, _manner(asked, speaker, limits.characters))
        encoder = Encoder(asked.response_format, speaker.model.sample_rate)
        headers = {"x-sample-rate": str(encoder.sample_rate)}
        speaker.add(job)
        sound = _sound(job, encoder, asyncio.get_running_loop().time() + limits.request_seconds)
        sound = _continued(await while_there(client, anext(sound)), sound)
        if asked.stream_format == "sse":
            return StreamingResponse(_events(sound), media_type=EVENTS, headers=headers)
        return StreamingResponse(sound, media_type=encoder.media_type, headers=headers)

    def described(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": 0, "owned_by": "parlance"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [described(name) for name in engine.workers]}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        if name not in engine.workers:
            raise ApiError(404, f"model '{name[:80]}' is not here", "model_not_found", "model")
        return described(name)

    @app.get("/health")
    async def health() -> JSONResponse:
        well = all(one.thread.is_alive() for one in engine.workers.values())
        return JSONResponse({"status": "ok" if well else "failed"}, 200 if well else 503)

    @app.get("/metrics")
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(engine.metrics.text())

    return app


async def _gone(client: Request) -> None:
    while (await client.receive())["type"] != "http.disconnect":
        pass


def _answer(transcript: Transcript, tokenizer: BaseTokenizer, asked: Recording, task: str) -> Response:
    usage = {"type": "duration", "seconds": transcript.duration}
    if asked.response_format == "text":
        return PlainTextResponse(f"{transcript.text}\n")
    if asked.response_format in SUBTITLES:
        return Response(transcript.render(asked.response_format), media_type=SUBTITLES[asked.response_format])
    body: dict[str, Any] = {"text": transcript.text, "usage": usage}
    if asked.response_format == "verbose_json":
        body |= {"task": task, "language": transcript.language, "duration": transcript.duration}
        if "segment" in asked.times_of or not asked.times_of:
            body["segments"] = [asdict(segment) for segment in transcript.segments]
        if "word" in asked.times_of:
            body["words"] = [asdict(word) for word in transcript.words]
    elif asked.include:
        sure = [x for s in transcript.segments for x in zip(s.tokens, s.token_logprobs, strict=True)]
        pieces = [(tokenizer.pieces[token], value) for token, value in sure]
        body["logprobs"] = [{"token": p, "bytes": list(p.encode()), "logprob": value} for p, value in pieces]
    return JSONResponse(body)


def _event(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"


def _told_in_parts(transcript: Transcript) -> Iterable[str]:
    for word in re.findall(r"\s*\S+", transcript.text):
        yield _event({"type": "transcript.text.delta", "delta": word})
    usage = {"type": "duration", "seconds": transcript.duration}
    yield _event({"type": "transcript.text.done", "text": transcript.text, "usage": usage})
    yield END


def _manner(asked: Text, speaker: Speaker, characters: int) -> Manner:
    """ApiError for what the voice cannot say so."""
    voice = speaker.model
    if len(asked.input) > characters:
        message = f"input: {len(asked.input)} characters, the limit is {characters}"
        raise ApiError(400, message, "string_above_max_length", "input")
    if asked.speed != 1 and "length_scale" not in voice.controls:
        raise ApiError(400, f"speed {asked.speed:g}: this voice has its own, leave it at 1", "invalid_value", "speed")
    name = asked.voice.id if isinstance(asked.voice, VoiceId) else asked.voice
    speakers = voice.parts.speakers
    return Manner(length_scale=1 / asked.speed, speaker=(name or None) if speakers else None, language=asked.language)


async def _sound(job: Job, encoder: Encoder, until: float) -> AsyncIterator[bytes]:
    with job:
        while True:
            async with asyncio.timeout_at(until):
                part = await job.next()
            last = part is None
            if data := await asyncio.to_thread(encoder.push, np.zeros(0, np.float32) if last else part, last):
                yield data
            if last:
                return


async def _continued(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for part in rest:
        yield part


async def _events(sound: AsyncIterator[bytes]) -> AsyncIterator[str]:
    try:
        async for part in sound:
            yield _event({"type": "speech.audio.delta", "audio": base64.b64encode(part).decode()})
        yield _event({"type": "speech.audio.done"})
    except Exception as error:  # the status is sent: it is told in an event
        yield _event({"error": told(error).body})
    yield END
