"""OpenAI's own client against the running server: answers."""

import asyncio
import base64
import io
import json

import httpx
import numpy as np
import openai
import pytest
from api_server import RATE, TEXT, VOICE, noise, wav
from openai import AsyncOpenAI

from serve.encoder import FORMATS, PCM_RATE, Encoder
from speech.audio.decode import decode
from speech.talker import Manner

SILENCE = np.zeros(0, np.float32)
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
