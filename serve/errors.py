"""Faults as OpenAI's clients read them."""

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from speech.audio.decode import TooLong
from speech.errors import AudioError, SpeechError

log = logging.getLogger(__name__)


class ApiError(HTTPException):
    """`param` is the field that is at fault. A fault of ours says to clients that trying again will not help."""

    def __init__(
        self, status: int, message: str, code: str | None = None, param: str | None = None, **headers: str
    ) -> None:
        if status >= 500:
            headers["x-should-retry"] = "false"
        message = message.encode(errors="replace").decode()  # it may quote half a character
        super().__init__(status, message, {name.replace("_", "-"): value for name, value in headers.items()})
        self.code, self.param = code, param

    @property
    def body(self) -> dict:
        """What stands under `error` in an answer or an event."""
        kind = "invalid_request_error" if self.status_code < 500 else "server_error"
        return {"message": self.detail, "type": kind, "param": self.param, "code": self.code}

    @property
    def response(self) -> JSONResponse:
        return JSONResponse({"error": self.body}, self.status_code, self.headers)


def told(error: Exception) -> ApiError:
    """Any error as a client may see it: those that are no SpeechError are ours, and only the log has them."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        return ApiError(error.status_code, error.detail, **(error.headers or {}))  # type: ignore[arg-type]
    if isinstance(error, TooLong):
        return ApiError(413, str(error), "audio_too_long", "file")
    if isinstance(error, AudioError):
        return ApiError(400, str(error), "audio_undecodable", "file")
    if isinstance(error, SpeechError):
        return ApiError(400, str(error), "invalid_value")
    if isinstance(error, TimeoutError):
        return ApiError(503, "not done in the time that a request may take", "timeout")
    log.error("a request failed", exc_info=error)
    return ApiError(500, "the server failed; its log says why under this request id", "internal_error")


def _invalid(error: RequestValidationError) -> ApiError:
    first = error.errors()[0]
    place = [str(part) for part in first["loc"][1:]]
    if first["type"] == "json_invalid" or not place:
        return ApiError(400, "the body is not JSON, or not the form that is wanted here", "invalid_body")
    code = "missing_required_parameter" if first["type"] == "missing" else "invalid_value"
    return ApiError(400, f"{'.'.join(place)}: {first['msg']}", code, place[0])


def install(app: FastAPI) -> None:
    async def handle(_: Request, error: Exception) -> JSONResponse:
        return told(error).response

    for kind in (HTTPException, RequestValidationError, SpeechError):
        app.add_exception_handler(kind, handle)
