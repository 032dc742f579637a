"""The API with models on a free port, in this process, and sounds to send there."""

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import openai
import soundfile
import uvicorn
from openai import OpenAI
from test_engine import Echo

from serve.api import make_app
from serve.engine import Engine
from serve.limits import Limits

RATE, VOICE = 8000, "org/voice"
TEXT = "Hallo Welt. Und dann, ja?"


def noise(number: int, samples: int = 8001) -> np.ndarray:
    rng = np.random.default_rng(number)
    return (rng.normal(size=samples) * np.linspace(0, 0.3, samples)).clip(-1, 1).astype(np.float32)


def talk(number: int, seconds: float) -> np.ndarray:
    """Noise of 1.3 s and silence of 0.7 s in turn."""
    rng = np.random.default_rng(number)
    loud = np.arange(round(seconds * RATE)) % (2 * RATE) < 1.3 * RATE
    return (rng.normal(size=len(loud)) * 0.2 * loud).clip(-1, 1).astype(np.float32)


def wav(x: np.ndarray) -> bytes:
    soundfile.write(out := io.BytesIO(), x, RATE, subtype="FLOAT", format="WAV")
    return out.getvalue()


@contextmanager
def serving(models, limits: Limits = Limits(), keys=(), mount=lambda app, engine: None) -> Iterator[tuple[str, Engine]]:  # noqa: B008
    """Address and engine."""
    door = socket.create_server(("127.0.0.1", 0))
    engine = Engine(models, limits)
    app = make_app(engine, keys)
    mount(app, engine)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [door]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{door.getsockname()[1]}", engine
    finally:
        for worker in engine.workers.values():
            getattr(worker.model, "go", threading.Event()).set()
        server.should_exit = True
        thread.join()
        door.close()


def client(url: str, **options) -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", **({"api_key": "key", "max_retries": 0} | options))


def check_told(error: openai.APIStatusError, code: str | None, param: str | None) -> None:
    """The fault has OpenAI's form and tells nothing of the server."""
    body = error.response.json()["error"]
    assert (error.code, error.param, error.type) == (code, param, "invalid_request_error")
    assert body["message"] and error.request_id.startswith("req_")
    text = error.response.text
    assert not any(secret in text for secret in ("Traceback", "site-packages", ".py", "/tmp", socket.gethostname()))


class Slow(Echo):
    """Hears how many samples there are."""

    def transcribe_each(self, sources, *others, **options):
        for source in sources:
            source.text = f"{source.seconds * RATE:.0f}"
        return super().transcribe_each(sources, *others, **options)


def becomes(told: Callable[[], bool]) -> bool:
    """The server counts a request when its answer is sent."""
    end = time.monotonic() + 5
    while not told() and time.monotonic() < end:
        time.sleep(0.01)
    return told()


def in_background(call, *arguments) -> threading.Thread:
    thread = threading.Thread(target=call, args=arguments)
    thread.start()
    return thread
