"""Answers that are made while their client waits."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from fastapi import Response
from fastapi.responses import StreamingResponse
from starlette.types import Send

from serve.errors import ApiError, told

EVENTS, END = "text/event-stream", "data: [DONE]\n\n"
Body = dict[str, Any]


class Flow(StreamingResponse):
    """Parts as they are ready: bytes, bodies of events, or one Response that is the whole answer. They end when the
    client leaves. A fault before the first has its status, one after it is an event."""

    def __init__(self, parts: AsyncIterator[Any], seconds: float, media_type: str, headers: Mapping[str, str] = {}):  # noqa: B006
        super().__init__(parts, media_type=media_type, headers=headers)
        self.parts, self.seconds = parts, seconds

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self.parts) as parts:  # type: ignore[type-var]
            try:
                async with asyncio.timeout(self.seconds):
                    first = await anext(parts)
            except TimeoutError:
                raise ApiError(503, f"not done within {self.seconds:g} s", "timeout") from None
            if isinstance(first, Response):
                return await first({"type": "http"}, None, send)  # type: ignore[arg-type]
            self.body_iterator = self._sent(first, parts)
            await super().stream_response(send)

    async def _sent(self, part: Any, rest: AsyncIterator[Any]) -> AsyncIterator[bytes | str]:
        try:
            while part is not None:
                yield _line(part) if isinstance(part, dict) else part
                part = await anext(rest, None)
        except Exception as error:
            if self.media_type != EVENTS:
                raise
            yield _line({"error": told(error).body})
        if self.media_type == EVENTS:
            yield END


def _line(body: Body) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"
