"""The page with models on a free port beside their API, in this process."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from api_server import serving
from gradio_client import Client
from gradio_client.exceptions import AppError

from serve.demo import make_page, mount, sealed
from serve.limits import Limits


@contextmanager
def served(models, folders: Mapping[str, Path] = {}, limits: Limits = Limits(), keys=()) -> Iterator[str]:  # noqa: B006, B008
    """Its address; examples come from `folders`."""
    nowhere = {name: Path("nowhere") for name in models}
    with sealed():

        def add_page(app, engine) -> None:
            mount(app, make_page(engine, {**nowhere, **folders}), limits)

        with serving(models, limits, keys, add_page) as (url, _):
            yield url


def refused(client: Client, *args, api_name: str) -> str:
    with pytest.raises(AppError) as error:
        client.predict(*args, api_name=api_name)
    message = str(error.value)
    assert not re.search(r"Traceback|\.py|/(tmp|etc|home|usr)/", message)
    return message
