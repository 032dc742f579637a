"""OpenAI's own client against the running server."""

import asyncio
import base64
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest
import soundfile
import uvicorn
from openai import AsyncOpenAI, OpenAI
from test_engine import Echo

from serve.api import make_app
from serve.encoder import FORMATS, PCM_RATE, Encoder
from serve.engine import Engine
from serve.limits import Limits
from serve.server import main, open_models
from serve.transcriber import OnnxTranscriber
from speech.audio.decode import decode
from speech.errors import SpeechError
from speech.talker import Manner

RATE, VOICE = 8000, "org/voice"
TEXT = "Hallo Welt. Und dann, ja?"
SILENCE = np.zeros(0, np.float32)


def noise(number: int, samples: int = 8001) -> np.ndarray:
    rng = np.random.default_rng(number)
    return (rng.normal(size=samples) * np.linspace(0, 0.3, samples)).clip(-1, 1).astype(np.float32)


def wav(x: np.ndarray) -> bytes:
    soundfile.write(out := io.BytesIO(), x, RATE, subtype="FLOAT", format="WAV")
    return out.getvalue()


@contextmanager
def serving(models, limits: Limits = Limits(), keys=()) -> Iterator[tuple[str, Engine]]:  # noqa: B008
    """Address and engine."""
    door = socket.create_server(("127.0.0.1", 0))
    engine = Engine(models, limits)
    server = uvicorn.Server(uvicorn.Config(make_app(engine, keys), log_config=None))
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


@pytest.fixture(scope="module")
def models(exported, voice_folders):
    folders = [f"tiny={exported}", f"{VOICE}={voice_folders['fastspeech'][1]}"]
    return open_models(folders, "cpu", "32", 1)


@pytest.fixture(scope="module")
def url(models):
    with serving(models) as (url, _):
        yield url


@pytest.fixture(scope="module")
def ask(url):
    return client(url)


@pytest.fixture(scope="module")
def truth(exported) -> OnnxTranscriber:
    return OnnxTranscriber(exported, "cpu", threads=1)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory, truth) -> Path:
    """A recording with a text."""
    path = tmp_path_factory.mktemp("audio") / "übung.wav"
    path.write_bytes(next(data for n in range(99) if truth.transcribe(data := wav(noise(n))).text))
    return path


FILES = {
    "path": lambda path: path,
    "bytes": lambda path: path.read_bytes(),
    "pair": lambda path: ("ü.wav", path.read_bytes(), "audio/x-wav"),
    "file": lambda path: path.open("rb"),
    "nameless": lambda path: io.BytesIO(path.read_bytes()),
}


@pytest.mark.parametrize("give", FILES.values(), ids=FILES)
def test_every_format_of_every_kind_of_file(ask, truth, spoken, give):
    expected = truth.transcribe(spoken)
    assert expected.text and expected.segments

    def asked(**options):
        return ask.audio.transcriptions.create(model="tiny", file=give(spoken), **options)

    assert asked().text == expected.text
    assert asked(response_format="json", language="en", prompt="x", temperature=0.2).usage.seconds == expected.duration
    assert asked(response_format="text") == f"{expected.text}\n"
    assert asked(response_format="srt") == expected.render("srt")
    assert asked(response_format="vtt") == expected.render("vtt")
    found = asked(response_format="verbose_json")
    assert (found.text, found.duration, found.language, found.words) == (expected.text, 8001 / RATE, "en", None)
    for ours, theirs in zip(found.segments, expected.segments, strict=True):
        assert (ours.text, ours.tokens, ours.start, ours.end) == (theirs.text, theirs.tokens, theirs.start, theirs.end)
        assert ours.avg_logprob == pytest.approx(theirs.avg_logprob, abs=1e-5)


def test_words_have_times(ask, truth, spoken):
    expected = truth.transcribe(spoken, word_timestamps=True).words
    options = dict(model="tiny", file=spoken, response_format="verbose_json")
    found = ask.audio.transcriptions.create(**options, timestamp_granularities=["word"])
    assert [(w.word, w.start, w.end) for w in found.words] == [(w.word, w.start, w.end) for w in expected]
    assert expected and found.segments is None
    found = ask.audio.transcriptions.create(**options, timestamp_granularities=["word", "segment"])
    assert found.words and found.segments


def test_lists_are_taken_without_brackets_too(url, spoken):
    form = {"model": "tiny", "response_format": "verbose_json", "timestamp_granularities": "word"}
    found = httpx.post(f"{url}/v1/audio/transcriptions", data=form, files={"file": spoken.read_bytes()}).json()
    assert found["words"] and "segments" not in found


def test_hot_words_change_what_is_heard(ask, truth, spoken):
    expected = truth.transcribe(spoken, hotwords={"seven": 9.0})
    found = ask.audio.transcriptions.create(model="tiny", file=spoken, extra_body={"keywords": ["seven:9"]})
    assert found.text == expected.text != truth.transcribe(spoken).text


def test_log_probabilities(ask, truth, spoken):
    expected = truth.transcribe(spoken).segments[0]
    found = ask.audio.transcriptions.create(model="tiny", file=spoken, include=["logprobs"]).logprobs
    assert [one.logprob for one in found] == pytest.approx(expected.token_logprobs, abs=1e-5)
    assert "".join(one.token for one in found).replace("▁", " ").strip() == expected.text


@pytest.mark.parametrize("give", FILES.values(), ids=FILES)
def test_a_stream_tells_the_same_text(ask, truth, spoken, give):
    *deltas, done = ask.audio.transcriptions.create(model="tiny", file=give(spoken), stream=True)
    assert "".join(event.delta for event in deltas) == done.text == truth.transcribe(spoken).text
    assert (done.type, {event.type for event in deltas}) == ("transcript.text.done", {"transcript.text.delta"})


@pytest.mark.parametrize("format", sorted(set(FORMATS) - {"pcm"}))
def test_containers(ask, truth, format):
    encoder = Encoder(format, RATE)
    data = encoder.push(noise(1, 20000)) + encoder.push(SILENCE, last=True)
    assert ask.audio.transcriptions.create(model="tiny", file=data).text == truth.transcribe(data).text


def test_answers_of_32_clients_are_not_mixed(url, truth):
    recordings = [wav(noise(n, 4000 + 777 * n)) for n in range(32)]
    expected = [truth.transcribe(data) for data in recordings]
    assert len({transcript.duration for transcript in expected}) == 32

    async def one(number: int) -> None:
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key="key", max_retries=0) as ask:
            options = dict(model="tiny", file=recordings[number], response_format="verbose_json")
            found = await ask.audio.transcriptions.create(**options)
        theirs = expected[number]
        assert (found.text, found.duration) == (theirs.text, theirs.duration)
        for ours, segment in zip(found.segments, theirs.segments, strict=True):
            assert ours.avg_logprob == pytest.approx(segment.avg_logprob, abs=1e-4)

    async def everybody() -> None:
        await asyncio.gather(*map(one, range(32)))

    asyncio.run(everybody())


@pytest.mark.parametrize("format", FORMATS)
def test_speech_in_every_format(ask, models, format):
    voice = models[VOICE]
    expected, _ = voice.waveform(TEXT, Manner(speaker="Bo"))
    found = ask.audio.speech.create(model=VOICE, input=TEXT, voice="Bo", response_format=format)
    assert found.response.headers["content-type"] == FORMATS[format][2]
    rate = int(found.response.headers["x-sample-rate"])
    if format == "pcm":
        assert rate == PCM_RATE and len(found.content) / 2 / rate == pytest.approx(len(expected) / RATE, abs=1e-3)
    elif format in ("wav", "flac"):
        np.testing.assert_allclose(decode(found.content, RATE), expected, atol=1e-4)
    else:
        assert len(decode(found.content, RATE)) / RATE == pytest.approx(len(expected) / RATE, abs=0.3)


def test_speech_flows(ask, models):
    expected, _ = models[VOICE].waveform(TEXT, Manner(speaker="Anna", length_scale=0.5))
    asked = dict(model=VOICE, input=TEXT, voice={"id": "Anna"}, speed=2.0, response_format="pcm")
    whole = ask.audio.speech.create(**asked).content
    assert len(whole) == pytest.approx(2 * PCM_RATE / RATE * len(expected), abs=100)
    with ask.audio.speech.with_streaming_response.create(**asked) as answer:
        assert b"".join(answer.iter_bytes(1000)) == whole
    lines = ask.audio.speech.create(**asked, stream_format="sse").content.decode().split("\n\n")
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line and "[DONE]" not in line]
    assert b"".join(base64.b64decode(event["audio"]) for event in events[:-1]) == whole and len(events) > 2
    assert events[-1] == {"type": "speech.audio.done"}


def test_models_are_listed(ask):
    assert [model.id for model in ask.models.list()] == ["tiny", VOICE]
    assert ask.models.retrieve(VOICE).id == VOICE
    with pytest.raises(openai.NotFoundError, match="model 'gone' is not here"):
        ask.models.retrieve("gone")


def test_raw_answers_have_ids_that_differ(ask, spoken):
    raw = [ask.audio.transcriptions.with_raw_response.create(model="tiny", file=spoken) for _ in range(2)]
    ids = {one.headers["x-request-id"] for one in raw}
    assert len(ids) == 2 and all(one.startswith("req_") for one in ids)
    assert raw[0].parse().text


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


def check_told(error: openai.APIStatusError, code: str | None, param: str | None) -> None:
    body = error.response.json()["error"]
    assert (error.code, error.param, error.type) == (code, param, "invalid_request_error")
    assert body["message"] and error.request_id.startswith("req_")
    text = error.response.text
    assert not any(secret in text for secret in ("Traceback", "site-packages", ".py", "/tmp", socket.gethostname()))


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


class Slow(Echo):
    sample_rate = RATE
    tokenizer = None  # type: ignore

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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "tiny"], "--model tiny: give NAME=FOLDER"),
        (["--model", "a={tiny}", "--model", "a={tiny}"], "each name once"),
        (["--model", "a=nowhere"], "config.json is missing"),
        (["--model", "a={tiny}", "--requests", "0"], "--requests 0 must be above 0"),
        (["--model", "a={tiny}", "--device", "cpu", "--port", "{port}"], "cannot be served .*choose others"),
    ],
)
def test_a_server_that_cannot_start_says_why(exported, arguments, message):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        values = {"tiny": exported, "port": taken.getsockname()[1]}
        with pytest.raises(SpeechError, match=message):
            main([argument.format(**values) for argument in arguments])
