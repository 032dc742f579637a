"""The demo page: the models of an engine in a browser, on the port of its API."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from pathlib import Path
from unittest.mock import patch

import gradio as gr
import safehttpx
from fastapi import FastAPI
from gradio.themes import Soft

from serve.engine import Engine, Listener
from serve.limits import Limits
from serve.pictures import CSS
from serve.synthesize_tab import add_synthesize_tab
from serve.transcribe_tab import add_transcribe_tab

MAX_WAITING, AT_ONCE = 16, 4  # visitors at each button
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


def make_page(engine: Engine, folders: Mapping[str, Path], note: str = "") -> gr.Blocks:
    """A tab for each model, with the examples of its folder; `note` is Markdown. Call it `sealed`."""
    with gr.Blocks(analytics_enabled=False, title="Parlance", delete_cache=(KEPT_SECONDS, KEPT_SECONDS)) as page:
        gr.Markdown(f"# Parlance\n{note}")
        with gr.Tabs():
            for name, worker in engine.workers.items():
                alone = sum(type(other) is type(worker) for other in engine.workers.values()) == 1
                what = "Transcribe" if isinstance(worker, Listener) else "Synthesize"
                with gr.Tab(what if alone else f"{what}: {name}"):
                    if isinstance(worker, Listener):
                        add_transcribe_tab(worker, engine, _recordings(folders[name]))
                    else:
                        add_synthesize_tab(worker, _texts(folders[name]))
    return page.queue(max_size=MAX_WAITING, default_concurrency_limit=AT_ONCE)


def _recordings(folder: Path) -> list[str]:
    """Copies that gradio may serve and does not delete."""
    own = tempfile.mkdtemp(dir=os.environ["GRADIO_TEMP_DIR"])
    copies = [str(shutil.copy(path, own)) for path in sorted((folder / EXAMPLES).glob("*.*"))]
    gr.set_static_paths([*copies])
    return copies


def _texts(folder: Path) -> list[str]:
    path = folder / f"{EXAMPLES}.txt"
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def mount(app: FastAPI, page: gr.Blocks, limits: Limits) -> None:
    """Put the page at /, after the application's own routes. It runs `sealed`."""
    theme = Soft(font=FONTS, font_mono=["ui-monospace", "monospace"])
    safehttpx.async_validate_url = _no_address  # gradio fetches public addresses for whoever asks, a server must not
    gr.mount_gradio_app(
        app, page, "/", allowed_paths=[], max_file_size=limits.upload_bytes, show_error=False, ssr_mode=False,
        pwa=False, enable_monitoring=False, run_history=False, footer_links=["api"], theme=theme, css=CSS,
    )  # fmt: skip
    page.has_launched = page.is_running = True  # gradio checks the paths in requests only of pages that it launched


async def _no_address(host: str) -> str:
    raise gr.Error("give a file, not an address", print_exception=False)
