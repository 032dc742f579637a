"""The door of the server: keys, places, bytes, request ids and counts."""

import asyncio
import base64
import binascii
import hmac
import logging
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.errors import ApiError, told
from serve.limits import Limits
from serve.metrics import Metrics

log = logging.getLogger(__name__)
API, WORK, FREE = "/v1/", "/v1/audio/", "/health"
UNREAD_TIMES = 4  # of a limit: what is read and thrown away, since a client that still sends sees no answer


class Gate:
    """ASGI middleware. Without keys everybody may come in; with them all but /health wants one: as Bearer or, outside
    of the API, as a password, for which browsers ask."""

    def __init__(self, app: ASGIApp, limits: Limits, keys: Sequence[str], metrics: Metrics):
        self.app, self.limits, self.keys, self.metrics = app, limits, keys, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        visit, work = Visit(scope, receive, send, self.limits), scope["path"].startswith(WORK)
        fault = self._refusal(scope, work)
        held = work and fault is None
        self.metrics.inside += held
        try:
            await (fault.response if fault else self.app)(scope, visit.receive, visit.send)
        except Exception as error:
            if visit.status:
                raise  # what is sent is cut off
            await told(error).response(scope, visit.receive, visit.send)
        finally:
            self.metrics.inside -= held
            path = getattr(scope.get("route"), "path", "other")
            self.metrics.add("requests_total", path=path, status=visit.status or 499)  # the client has left
            self.metrics.add("request_seconds_total", time.perf_counter() - visit.begin, path=path)

    def _refusal(self, scope: Scope, work: bool) -> ApiError | None:
        if self.keys and scope["path"] != FREE:
            page = not scope["path"].startswith(API)
            given = _key(Headers(scope=scope).get("authorization", ""), page)
            if not any([hmac.compare_digest(given, key.encode()) for key in self.keys]):
                kind = 'Basic realm="an API key is the password", charset="UTF-8"' if page else "Bearer"
                return ApiError(401, "no such API key", "invalid_api_key", www_authenticate=kind)
        if work and self.metrics.inside >= self.limits.requests:
            return ApiError(429, f"{self.metrics.inside} requests are here, come again", "queue_full", retry_after="1")
        return None


def _key(header: str, page: bool) -> bytes:
    """That of an Authorization header. Never a password for the API: browsers add those to forms of other pages."""
    kind, _, value = header.partition(" ")
    if kind.lower() == "bearer":
        return value.encode("latin-1")
    if page and kind.lower() == "basic":
        with suppress(binascii.Error):
            return base64.b64decode(value).partition(b":")[2]
    return b""


class Visit:
    """One request: its id, the bytes of its body, its status."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: Limits):
        self.begin, self.id, self.status = time.perf_counter(), f"req_{uuid.uuid4().hex}", 0
        self.limit = limits.json_bytes if scope["path"] == f"{WORK}speech" else limits.upload_bytes
        self.read, self.unread = 0, True
        self.end = asyncio.get_running_loop().time() + limits.request_seconds
        self._receive, self._send = receive, send

    async def _next(self) -> Message:
        try:
            async with asyncio.timeout_at(self.end if self.unread else None):
                message = await self._receive()
        except TimeoutError:
            self.unread = False
            raise ApiError(503, "the body did not come in the time that a request may take", "timeout") from None
        self.read += len(message.get("body", b""))
        self.unread = self.unread and message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def receive(self) -> Message:
        message = await self._next()
        if self.read > self.limit:
            raise ApiError(413, f"the body is longer than {self.limit} bytes", "body_too_large")
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            while message["status"] >= 400 and self.unread and self.read < UNREAD_TIMES * self.limit:
                await self._next()
            self.status = message["status"]
            if self.status >= 500:
                log.error("%s was answered with %d", self.id, self.status)
            MutableHeaders(scope=message)["x-request-id"] = self.id
        await self._send(message)
