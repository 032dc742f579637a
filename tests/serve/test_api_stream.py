"""Texts that are told while they are recognised, and clients that leave in the middle of anything."""

import gc
import json
import os
import random
import socket
import tempfile
import time
from pathlib import Path

import httpx
import openai
import pytest
from api_server import TEXT, VOICE, becomes, client, serving, talk, wav
from openai.types.audio import TranscriptionTextDeltaEvent, TranscriptionTextDoneEvent
from starlette.formparsers import MultiPartParser
from test_engine import Echo

from serve import sandbox
from serve.limits import Limits


@pytest.fixture(scope="module")
def url(models, short_pieces):
    with serving({"tiny": short_pieces, VOICE: models[VOICE]}) as (url, _):
        yield url


@pytest.fixture(scope="module")
def long(short_pieces) -> bytes:
    return wav(talk(0, 40.0))


def streamed(ask, data: bytes, **options) -> list:
    return [*ask.audio.transcriptions.create(model="tiny", file=data, stream=True, **options)]


def test_a_long_recording_is_told_piece_by_piece(ask, short_pieces, long):
    *deltas, done = streamed(ask, long)
    assert len(deltas) > 5
    expected = short_pieces.transcribe(long)
    assert "".join(event.delta for event in deltas) == done.text == expected.text
    for event in deltas:
        TranscriptionTextDeltaEvent.model_validate(event.to_dict(), strict=True)
    checked = TranscriptionTextDoneEvent.model_validate(done.to_dict(), strict=True)
    assert checked.usage and checked.usage.total_tokens == checked.usage.input_tokens + checked.usage.output_tokens
    assert checked.usage.output_tokens == sum(len(segment.tokens) for segment in expected.segments)


def test_a_short_recording_is_told_at_once(ask, truth, spoken):
    delta, done = streamed(ask, spoken.read_bytes(), include=["logprobs"])
    assert delta.delta == done.text == truth.transcribe(spoken).text
    assert "".join(one.token for one in done.logprobs).replace("▁", " ").strip() == done.text


def test_silence_has_no_delta(ask):
    assert [event.type for event in streamed(ask, wav(talk(0, 40.0) * 0))] == ["transcript.text.done"]


def test_events_are_lines_that_end(url, long):
    form = {"model": "tiny", "stream": "true"}
    with httpx.stream("POST", f"{url}/v1/audio/transcriptions", data=form, files={"file": long}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        *events, last, nothing = answer.read().decode().split("\n\n")
    assert (last, nothing) == ("data: [DONE]", "")
    kinds = [json.loads(event.removeprefix("data: "))["type"] for event in events]
    assert set(kinds[:-1]) == {"transcript.text.delta"} and kinds[-1] == "transcript.text.done"


class Waits(Echo):
    """A long recording whose second piece waits for `go`, and may then fail."""

    fails = False

    def transcribe_each(self, sources, request, batch_size, progress, partial=None):  # type: ignore
        self.generation.max_seconds = 0.5
        for number in range(200):
            progress(1.0)
            if partial is not None:
                partial(0, "a" * (number + 1))
            self.begun.set()
            self.go.wait(0.01 if number else 5)
            if self.fails:
                raise RuntimeError("a secret of ours")
        self.answered.append("all")
        return iter(())


def waiting(model: Waits) -> Waits:
    model.generation.max_seconds = 0.5
    model.go.clear()
    return model


def test_text_comes_before_all_is_heard_and_then_a_fault_is_an_event(spoken):
    with serving({"tiny": (model := waiting(Waits()))}) as (url, _):
        model.fails = True
        events = iter(client(url).audio.transcriptions.create(model="tiny", file=spoken, stream=True))
        assert next(events).delta == "a" and not model.go.is_set()
        model.go.set()
        with pytest.raises(openai.APIError, match="the server failed") as told:
            next(events)
        assert "secret" not in str(told.value.body)


def test_a_fault_before_the_first_text_has_its_status(ask):
    for data, status in ((b"plain words", 415), (b"RIFF1234WAVE" + bytes(99), 400)):
        with pytest.raises(openai.APIStatusError) as told:
            streamed(ask, data)
        assert told.value.status_code == status


def test_who_hangs_up_ends_the_work(spoken):
    with serving({"tiny": (model := waiting(Waits()))}) as (url, engine):
        with client(url).audio.transcriptions.create(model="tiny", file=spoken, stream=True) as events:
            assert next(iter(events)).delta == "a"
        assert becomes(lambda: engine.metrics.inside == 0)
        begin = time.monotonic()
        model.go.set()
        engine.workers["tiny"].close()
        assert not model.answered and time.monotonic() - begin < 1


def test_the_time_of_a_stream_ends(spoken):
    with serving({"tiny": waiting(Waits())}, Limits(request_seconds=2)) as (url, _):
        with pytest.raises(openai.APIError, match="not done in the time"):
            streamed(client(url), spoken.read_bytes())


def children() -> int:
    stats = [path.read_text().rpartition(")")[2].split() for path in Path("/proc").glob("[0-9]*/stat")]
    return sum(stat[1] == str(os.getpid()) and stat[0] != "Z" for stat in stats)


def open_files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def abort(url: str, content: tuple[dict, dict, str], rng: random.Random) -> None:
    """Leave while the body is sent, while it is decoded or waits, or after some of the answer."""
    data, files, path = content
    request = httpx.Request("POST", f"{url}{path}", **({"data": data, "files": files} if files else {"json": data}))
    body = request.read()
    head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in request.headers.items()) + "\r\n"
    with socket.create_connection(url.removeprefix("http://").split(":")) as one:
        how = rng.randrange(3)
        one.sendall(head.encode() + body[: rng.randrange(len(body)) if how == 0 else None])
        if how == 2:
            one.settimeout(10)
            one.recv(rng.choice([1, 4096]))
        time.sleep(rng.choice([0, 0, 0.005, 0.05]))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts what is open in /proc")
@pytest.mark.parametrize("count", [50, pytest.param(500, marks=pytest.mark.slow)])
def test_aborted_requests_leave_nothing(count, models, short_pieces, truth, spoken, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sandbox, "IN_MEMORY", 1000)  # so that what is kept keeps a file open
    monkeypatch.setattr(MultiPartParser, "spool_max_size", 1000)
    limits, rng = Limits(decoders=1), random.Random(0)
    both = {"tiny": short_pieces, VOICE: models[VOICE]}
    before = children()
    with serving(both, limits) as (url, engine):
        sound, hear = wav(talk(1, 9.0)), "/v1/audio/transcriptions"
        contents = [
            ({"model": "tiny", "stream": "true"}, {"file": sound}, hear),
            ({"model": "tiny"}, {"file": sound}, hear),
            ({"model": "tiny"}, {"file": spoken.read_bytes()}, hear),
            ({"model": VOICE, "input": TEXT * 20, "voice": "Bo", "response_format": "pcm"}, {}, "/v1/audio/speech"),
        ]

        def rests() -> bool:
            return becomes(lambda: not engine.metrics.inside and not any(w.waiting for w in engine.workers.values()))

        def heard() -> str:
            return client(url).audio.transcriptions.create(model="tiny", file=spoken).text

        for content in contents * 2:
            abort(url, content, rng)
        assert heard() and rests()
        files = open_files()
        for number in range(count):
            abort(url, contents[number % len(contents)], rng)
        assert heard() == truth.transcribe(spoken).text and rests()
        assert becomes(lambda: open_files() <= files) and children() <= before + limits.decoders
    assert children() == before and not [*tmp_path.iterdir()]
