"""What the tabs of the demo share: faults told to the visitor, files that only he can fetch."""

import html
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from serve import errors
from serve.errors import ApiError
from speech.errors import SpeechError


@contextmanager
def told() -> Iterator[None]:
    """A fault of the input is one sentence on the page. Everything else stays in the server's log."""
    try:
        yield
    except (SpeechError, ApiError) as error:
        raise gr.Error(html.escape(errors.told(error).detail, quote=False), print_exception=False) from None


def cached(data: bytes, name: str) -> str:
    """Path of a file for the visitor, which gradio deletes after a while. The name is ours, never his."""
    return save_bytes_to_cache(data, name, get_upload_folder())
