"""A demo page with models on a free port, in this process."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from serve.demo import make_page, mount, sealed


@contextmanager
def served(*models) -> Iterator[str]:
    """Its address."""
    with socket.socket() as s, sealed():
        s.bind(("127.0.0.1", 0))
        app = mount(FastAPI(), make_page(*models))
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [s]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{s.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
