"""OpenAI's own client against the running server: faults and limits."""

import json
import socket
import threading

import httpx
import numpy as np
import openai
import pytest
from api_server import RATE, TEXT, VOICE, Slow, becomes, check_told, client, in_background, noise, serving, wav

from serve.limits import Limits

NAN = np.full(RATE, np.nan, np.float32)
LISTENING = [
    ({"model": "gone"}, 404, "model_not_found", "model"),
    ({"model": VOICE}, 400, "invalid_value", "model"),
    ({"language": "xx"}, 400, "invalid_value", None),
    ({"temperature": 2.0}, 400, "invalid_value", "temperature"),
    ({"response_format": "diarized_json"}, 400, "invalid_value", "response_format"),
    ({"timestamp_granularities": ["word"]}, 400, "invalid_value", "timestamp_granularities"),
    ({"stream": True, "response_format": "srt"}, 400, "invalid_value", "stream"),
    ({"file": b""}, 400, "audio_undecodable", "file"),
    ({"file": b"RIFF1234WAVE" + bytes(99)}, 400, "audio_undecodable", "file"),
    ({"file": wav(NAN)}, 400, "audio_undecodable", "file"),
    ({"file": b"ffconcat version 1.0\nfile secret.wav"}, 415, "unsupported_format", "file"),
    ({"file": b"plain words"}, 415, "unsupported_format", "file"),
    ({"extra_body": {"keywords": ["<|pnc|>"] * 70}}, 400, None, None),
    ({"prompt": "a" * 70_000}, 400, None, None),
    ({"file": bytes(27 << 20)}, 413, "body_too_large", None),
]
SPEAKING = [
    ({"model": "tiny"}, 400, "invalid_value", "model"),
    ({"voice": "alloy"}, 400, "invalid_value", None),
    ({"input": ""}, 400, "invalid_value", None),
    ({"input": "a" * 4097}, 400, "string_above_max_length", "input"),
    ({"input": "a" * 2_000_000}, 413, "body_too_large", None),
    ({"speed": 9.0}, 400, "invalid_value", "speed"),
    ({"response_format": "midi"}, 400, "invalid_value", "response_format"),
    ({"input": None}, 400, "invalid_value", "input"),
]
KINDS = {400: openai.BadRequestError, 404: openai.NotFoundError, 413: openai.APIStatusError, 415: openai.APIStatusError}


@pytest.mark.parametrize(("change", "status", "code", "param"), LISTENING)
def test_faults_of_recordings(ask, spoken, change, status, code, param):
    with pytest.raises(KINDS[status]) as told:
        ask.audio.transcriptions.create(**({"model": "tiny", "file": spoken} | change))
    assert told.value.status_code == status
    check_told(told.value, code, param)


@pytest.mark.parametrize(("change", "status", "code", "param"), SPEAKING)
def test_faults_of_texts(ask, change, status, code, param):
    with pytest.raises(KINDS[status]) as told:
        ask.audio.speech.create(**({"model": VOICE, "input": TEXT, "voice": "Bo"} | change))
    assert told.value.status_code == status
    check_told(told.value, code, param)


def test_a_model_of_one_language_does_not_translate(ask, spoken):
    with pytest.raises(openai.BadRequestError, match="task 'translate'"):
        ask.audio.translations.create(model="tiny", file=spoken)


@pytest.mark.parametrize(
    ("path", "content", "code"),
    [
        ("audio/speech", b"{", "invalid_body"),
        ("audio/speech", b"[1]", "invalid_body"),
        ("audio/transcriptions", b"", "missing_required_parameter"),
    ],
)
def test_bodies_that_are_none(url, path, content, code):
    found = httpx.post(f"{url}/v1/{path}", content=content, headers={"content-type": "application/json"})
    assert found.status_code == 400 and found.json()["error"]["code"] == code


def test_half_a_character_is_told_too(url):
    content = json.dumps({"model": VOICE, "input": "\ud800", "voice": "Bo", "language": "\ud800"})
    found = httpx.post(f"{url}/v1/audio/speech", content=content, headers={"content-type": "application/json"})
    assert found.status_code == 400 and "language '?' is none of de, fr" in found.json()["error"]["message"]


def test_keys(models, spoken):
    with serving(models, keys=["other", "key"]) as (url, _):
        assert client(url).audio.transcriptions.create(model="tiny", file=spoken).text
        for file in (spoken.read_bytes(), bytes(20 << 20)):
            with pytest.raises(openai.AuthenticationError, match="no such API key"):
                client(url, api_key="ke").audio.transcriptions.create(model="tiny", file=file)
        assert httpx.get(f"{url}/v1/models").status_code == httpx.get(f"{url}/metrics").status_code == 401
        assert httpx.get(f"{url}/health").json() == {"status": "ok"}


def test_a_full_house_says_when_to_come_again(spoken):
    with serving({"slow": (model := Slow())}, Limits(requests=1)) as (url, _):
        model.go.clear()
        first = in_background(lambda: client(url).audio.transcriptions.create(model="slow", file=spoken))
        assert model.begun.wait(5)
        for file in (spoken, wav(noise(0, 2_000_000))):
            with pytest.raises(openai.RateLimitError) as told:
                client(url).audio.transcriptions.create(model="slow", file=file)
            assert told.value.response.headers["retry-after"] == "1"
            check_told(told.value, "queue_full", None)
        threading.Timer(0.3, model.go.set).start()
        assert client(url, max_retries=2).audio.transcriptions.create(model="slow", file=wav(noise(0, 99))).text == "99"
        first.join()


def test_what_takes_too_long_is_given_up_and_not_asked_again(spoken):
    with serving({"slow": (model := Slow())}, Limits(request_seconds=0.3)) as (url, engine):
        model.go.clear()
        with pytest.raises(openai.InternalServerError, match="not done within 0.3 s") as told:
            client(url, max_retries=2).audio.transcriptions.create(model="slow", file=spoken)
        assert told.value.status_code == 503
        assert becomes(lambda: 'path="/v1/audio/transcriptions",status="503"} 1\n' in engine.metrics.text())


@pytest.mark.parametrize("model", ["slow", "gone"])
def test_a_body_that_does_not_come_keeps_no_place(model):
    with serving({"slow": Slow()}, Limits(request_seconds=0.3)) as (url, engine):
        with socket.create_connection(url.removeprefix("http://").split(":")) as one:
            head = f"POST /v1/audio/{model} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            one.sendall(f"{head.replace('slow', 'speech')}content-length: 1000\r\n\r\n{{".encode())
            one.settimeout(5)
            assert one.recv(100).startswith(b"HTTP/1.1 503")
        assert becomes(lambda: engine.metrics.inside == 0)


def test_a_fault_of_ours_is_told_once_and_without_words(spoken):
    with serving({"slow": (model := Slow())}) as (url, engine):
        model.transcribe_each = lambda *_, **__: 1 / 0  # type: ignore
        with pytest.raises(openai.InternalServerError) as told:
            client(url, max_retries=2).audio.transcriptions.create(model="slow", file=spoken)
        assert told.value.status_code == 500 and told.value.request_id and "zero" not in told.value.response.text
        assert becomes(lambda: 'path="/v1/audio/transcriptions",status="500"} 1\n' in engine.metrics.text())


def test_what_a_client_has_left_is_not_begun():
    with serving({"slow": (model := Slow())}) as (url, engine):
        model.go.clear()
        first = in_background(lambda: client(url).audio.transcriptions.create(model="slow", file=wav(noise(0, 11))))
        assert model.begun.wait(5)
        for samples in range(20, 25):
            with pytest.raises(openai.APITimeoutError):
                file = wav(noise(0, samples))
                client(url, timeout=0.2).audio.transcriptions.create(model="slow", file=file)
        assert becomes(lambda: engine.metrics.inside == 1)
        model.go.set()
        assert client(url).audio.transcriptions.create(model="slow", file=wav(noise(0, 33))).text == "33"
        first.join()
        assert model.answered == ["11", "33"] and becomes(lambda: engine.metrics.inside == 0)
