"""The demo page: transcribe and synthesize in a browser, alone or on the port of another FastAPI application."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from unittest.mock import patch

import gradio as gr
import safehttpx
from fastapi import FastAPI
from gradio.themes import Soft

from serve.limits import Limits
from serve.pictures import CSS
from serve.sandbox import Sandbox
from serve.synthesize_tab import add_synthesize_tab
from serve.transcribe_tab import add_transcribe_tab
from speech.talker import Talker
from speech.transcriber import Transcriber

MAX_WAITING = 16
KEPT_SECONDS = 3600
EXAMPLES = "examples"  # recordings of a recogniser's folder, and examples.txt of a voice's: a text a line
FONTS = ["system-ui", "sans-serif"]  # none is fetched from elsewhere


@contextmanager
def sealed() -> Iterator[None]:
    """An empty working directory, for gradio serves files of it, and a folder of its own for uploads."""
    with tempfile.TemporaryDirectory(prefix="parlance-") as folder, tempfile.TemporaryDirectory() as empty:
        own = {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
        with chdir(empty), patch.dict(os.environ, own):
            yield


def recordings(folder: str | Path) -> list[Path]:
    """The examples of a recogniser's folder."""
    return sorted(path.resolve() for path in (Path(folder) / EXAMPLES).glob("*.*"))


def texts(folder: str | Path) -> list[str]:
    """The examples of a voice's folder."""
    path = Path(folder) / f"{EXAMPLES}.txt"
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def make_page(
    recognizer: Transcriber | None,
    voice: Talker | None,
    note: str = "",
    heard: list[Path] = [],  # noqa: B006 - not changed
    said: list[str] = [],  # noqa: B006
) -> gr.Blocks:
    """A tab for each model that is there; `note` is Markdown, `heard` and `said` are examples. Call it `sealed`."""
    with gr.Blocks(analytics_enabled=False, title="Parlance", delete_cache=(KEPT_SECONDS, KEPT_SECONDS)) as page:
        gr.Markdown("# Parlance")
        if note:
            gr.Markdown(note)
        with gr.Tabs():
            if recognizer is not None:
                with gr.Tab("Transcribe"):
                    folder = Path(tempfile.mkdtemp(dir=os.environ["GRADIO_TEMP_DIR"]))
                    examples = [str(shutil.copy(path, folder)) for path in heard]
                    gr.set_static_paths([*examples])  # which are not deleted
                    add_transcribe_tab(recognizer, Sandbox(Limits()), examples)
            if voice is not None:
                with gr.Tab("Synthesize"):
                    add_synthesize_tab(voice, said)
    return page.queue(max_size=MAX_WAITING, default_concurrency_limit=1)


def mount(app: FastAPI, page: gr.Blocks, path: str = "/") -> FastAPI:
    """The application with the page, after its own routes. It runs `sealed`."""
    theme = Soft(font=FONTS, font_mono=["ui-monospace", "monospace"])
    safehttpx.async_validate_url = _no_address  # gradio fetches public addresses for whoever asks, a server must not
    app = gr.mount_gradio_app(
        app, page, path, allowed_paths=[], max_file_size=Limits.upload_bytes, show_error=False, ssr_mode=False,
        pwa=False, enable_monitoring=False, run_history=False, footer_links=["api"], theme=theme, css=CSS,
    )  # fmt: skip
    page.has_launched = page.is_running = True  # gradio checks the paths in requests only of pages that it launched
    return app


async def _no_address(host: str) -> str:
    raise gr.Error("give a file, not an address", print_exception=False)
