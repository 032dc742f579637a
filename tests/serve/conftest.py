"""A tiny recogniser and a tiny voice behind the API and on the page."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from api_server import RATE, VOICE, client, noise, serving, wav

from serve.server import open_models
from serve.transcriber import OnnxTranscriber
from speech.open import open_recognizer, open_synthesizer


@pytest.fixture(scope="module")
def models(exported, voice_folders):
    return open_models({"tiny": exported, VOICE: voice_folders["fastspeech"][1]}, "cpu", "32", 1)


@pytest.fixture(scope="module")
def short_pieces(exported):
    """A recogniser that takes 3 s at once, and to which noise is speech."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("speech.audio.vad.silero_path", lambda: None)
        model = OnnxTranscriber(exported, "cpu", threads=1)
        model.generation = replace(model.generation, max_seconds=3.0)
        yield model


@pytest.fixture(scope="module")
def url(models):
    with serving(models) as (url, _):
        yield url


@pytest.fixture(scope="module")
def ask(url):
    return client(url)


@pytest.fixture(scope="session")
def truth(exported) -> OnnxTranscriber:
    return OnnxTranscriber(exported, "cpu", threads=1)


@pytest.fixture(scope="session")
def spoken(tmp_path_factory, truth) -> Path:
    """A recording with a text."""
    path = tmp_path_factory.mktemp("audio") / "übung.wav"
    path.write_bytes(next(data for n in range(99) if truth.transcribe(data := wav(noise(n))).text))
    return path


@pytest.fixture(scope="module")
def recognizer(tiny_model: Path):
    return open_recognizer(tiny_model, "cpu")


@pytest.fixture(scope="module")
def voice(tmp_path_factory):
    from tiny_voice import fastspeech, parts, saved

    return open_synthesizer(saved(tmp_path_factory.mktemp("voice"), fastspeech(), parts()), "cpu")


@pytest.fixture(scope="module")
def address(recognizer, voice):
    """Of the demo page."""
    from demo_server import served

    with served({"recognizer": recognizer, "voice": voice}) as address:
        yield address


@pytest.fixture(scope="module")
def visitor(address: str, tmp_path_factory):
    from gradio_client import Client

    return Client(address, verbose=False, download_files=tmp_path_factory.mktemp("got"), analytics_enabled=False)


@pytest.fixture(scope="session")
def recording(tmp_path_factory) -> Path:
    rng = np.random.default_rng(5)
    sf.write(path := tmp_path_factory.mktemp("rec") / "a.wav", rng.normal(size=16000) * 0.1, RATE)
    return path
