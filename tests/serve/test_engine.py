"""Alike recordings share a batch, nobody gets another's text, and what nobody waits for is not done."""

import asyncio
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from serve.engine import Engine, Job
from serve.limits import Limits
from serve.sandbox import Decoded
from speech.errors import AudioError, SpeechError
from speech.request import Request
from speech.talker import Manner, Talker
from speech.transcriber import Transcriber
from speech.transcript import Transcript


class Echo(Transcriber):
    """Hears the names of its recordings; waits for `go` before each batch and tells `begun`. Where a batch is asked for
    its text so far, it has that of three pieces."""

    encode = feature_frames = step = ctc_log_probs = cross_attention = tokenizer = None  # type: ignore
    sample_rate, frame_seconds = 8000, 0.04

    def __init__(self):
        self.generation = SimpleNamespace(max_seconds=30.0)
        self.batches, self.answered = [], []
        self.go, self.begun = threading.Event(), threading.Event()
        self.go.set()

    def transcribe_each(self, sources, request, batch_size, progress, partial=None):  # type: ignore
        self.batches.append([source.text for source in sources])
        self.begun.set()
        assert self.go.wait(5)
        if "wrong" in self.batches[-1]:
            raise SpeechError("these settings are wrong")
        if "broken" in self.batches[-1]:
            raise RuntimeError("a fault of ours")
        for part in range(3 if partial else 0):
            progress(10.0)
            partial(0, sources[0].text[: part + 1])
            if sources[0].text[part] == "!":
                raise SpeechError("wrong in the middle")
        for index in reversed(range(len(sources))):
            progress(1.0)
            self.answered.append(sources[index].text)
            silent = sources[index].text == "silent"
            yield index, AudioError("no sound") if silent else Transcript(sources[index].text, [], "en", 1.0)


@dataclass
class Said:
    text: str
    waveform: np.ndarray


class Parrot(Talker):
    _say, sample_rate, controls = None, 8000, ()  # type: ignore

    def __init__(self):
        self.said = []

    def speak(self, text: str, manner: Manner) -> Iterator:  # type: ignore
        for sentence in text.split():
            if sentence == "wrong":
                raise SpeechError("no such word")
            self.said.append(sentence)
            yield Said(sentence, np.ones(4, np.float32))


def sound(text: str, seconds: float = 1.0) -> Decoded:
    made = Decoded()
    made.text, made.seconds = text, seconds  # type: ignore
    return made


def hear(work, limits: Limits = Limits(window_seconds=0.1), model: Echo | None = None) -> tuple[Echo, Engine]:  # noqa: B008
    """`work(model, add)` in an event loop; add(text, request, seconds, partly) is a job."""
    engine = Engine({"echo": (model := model or Echo())}, limits)

    def add(text: str, request: Request = Request(), seconds: float = 1.0, partly: bool = False) -> Job:  # noqa: B008
        return engine.workers["echo"].ask(sound(text, seconds), request, partly)

    try:
        asyncio.run(asyncio.wait_for(work(model, add), 10))
    finally:
        model.go.set()
        engine.close()
    return model, engine


def test_a_batch_holds_what_is_alike_and_answers_are_not_mixed():
    async def work(model, add):
        requests = [Request(), Request(vad=True), Request(hotwords={"a": 1.0})]
        jobs = [add(f"{i}", requests[i % 3]) for i in range(9)]
        for i, job in enumerate(jobs):
            assert (await anext(job)).text == f"{i}"

    assert hear(work)[0].batches == [["0", "3", "6"], ["1", "4", "7"], ["2", "5", "8"]]


def test_a_batch_holds_those_nearest_in_length_to_the_oldest():
    async def work(model, add):
        jobs = [add(f"{seconds}", seconds=seconds) for seconds in (2.0, 9.0, 1.0, 8.0, 2.5, 7.0)]
        for job in jobs:
            await anext(job)

    limits = Limits(batch_size=3, padding=1.0)
    assert hear(work, limits)[0].batches == [["2.0", "2.5", "1.0"], ["9.0", "8.0", "7.0"]]


def test_a_batch_holds_little_padding():
    async def work(model, add):
        jobs = [add(f"{seconds}", seconds=seconds) for seconds in (2.0, 9.0, 1.9, 8.5, 1.0, 8.8)]
        for job in jobs:
            await anext(job)

    limits = Limits(batch_size=3, padding=0.1)
    assert hear(work, limits)[0].batches == [["2.0", "1.9"], ["9.0", "8.8", "8.5"], ["1.0"]]


def test_a_batch_waits_until_it_is_full():
    async def work(model, add):
        jobs = []
        for i in range(6):
            jobs.append(add(f"{i}"))
            await asyncio.sleep(0.01)
        for job in jobs:
            await anext(job)

    assert [len(batch) for batch in hear(work, Limits(batch_size=3, window_seconds=60.0))[0].batches] == [3, 3]


def test_what_nobody_waits_for_is_not_begun():
    async def work(model, add):
        model.go.clear()
        first = add("first")
        assert model.begun.wait(5)
        with add("left"):
            pass
        last = add("last")
        model.go.set()
        assert [(await anext(job)).text for job in (first, last)] == ["first", "last"]

    assert hear(work)[0].batches == [["first"], ["last"]]


@pytest.mark.parametrize("others", [True, False])
def test_a_batch_stops_when_all_have_left(others):
    async def work(model, add):
        model.go.clear()
        jobs = [add(f"{i}") for i in range(3)]
        assert model.begun.wait(5)
        for job in jobs[others:]:
            with job:
                pass
        model.go.set()
        assert (await anext(add("next"))).text == "next"

    assert hear(work)[0].answered == (["2", "1", "0", "next"] if others else ["next"])


def test_long_recordings_go_alone_and_let_short_ones_in_between():
    async def work(model, add):
        jobs = [add("long", seconds=31.0), add("too", seconds=31.0), add("a"), add("b"), add("c", Request(vad=True))]
        for job, text in zip(jobs, ("long", "too", "a", "b", "c"), strict=True):
            assert (await anext(job)).text == text

    model, _ = hear(work)
    assert model.batches == [["long"], ["a", "b"], ["too"], ["c"]]
    assert model.answered == ["b", "a", "long", "c", "too"]


def test_one_fault_of_ours_does_not_reach_the_others():
    async def work(model, add):
        good, bad, silent = add("good"), add("broken"), add("silent")
        assert (await anext(good)).text == "good"
        with pytest.raises(RuntimeError, match="a fault of ours"):
            await anext(bad)
        with pytest.raises(AudioError, match="no sound"):
            await anext(silent)

    assert hear(work)[0].batches == [["good", "broken", "silent"], ["good"], ["broken"], ["silent"]]


def test_wrong_settings_are_told_to_all_that_have_them():
    async def work(model, add):
        jobs = [add("wrong"), add("as well"), add("fine", Request(vad=True))]
        for job in jobs[:2]:
            with pytest.raises(SpeechError, match="settings are wrong"):
                await anext(job)
        assert (await anext(jobs[2])).text == "fine"

    assert len(hear(work)[0].batches) == 2


def test_a_long_recording_is_told_as_it_grows_where_that_is_asked_for():
    async def work(model, add):
        whole, long, short, faulty = (
            add("whole", seconds=31.0), add("long", seconds=31.0, partly=True), add("short", partly=True),
            add("f!", seconds=31.0, partly=True),
        )  # fmt: skip
        assert [part async for part in long] == [
            ("l", 10.0),
            ("lo", 20.0),
            ("lon", 30.0),
            Transcript("long", [], "en", 1.0),
        ]
        assert [part.text async for part in whole] == ["whole"] and [part.text async for part in short] == ["short"]
        assert await anext(faulty) == ("f", 10.0) and (await anext(faulty)).text == "f!"
        with pytest.raises(SpeechError, match="wrong in the middle"):
            await anext(faulty)

    hear(work)


def test_a_long_recording_stops_when_its_client_leaves():
    async def work(model, add):
        with add("long", seconds=31.0, partly=True) as job:
            await anext(job)
        assert (await anext(add("next"))).text == "next"

    class Stops(Echo):
        def transcribe_each(self, sources, request, batch_size, progress, partial=None):  # type: ignore
            for _ in range(200 if partial else 1):
                progress(1.0)
                if partial:
                    partial(0, "a")
                    time.sleep(0.01)
            self.answered.append(sources[0].text)
            yield 0, Transcript(sources[0].text, [], "en", 1.0)

    assert hear(work, model=Stops())[0].answered == ["next"]


def test_the_time_of_a_request_ends():
    async def work(model, add):
        model.go.clear()
        with pytest.raises(TimeoutError), add("slow") as job:
            await anext(job)

    hear(work, Limits(window_seconds=0.01, request_seconds=0.05))


def test_texts_are_spoken_in_turn_until_their_clients_leave():
    async def work():
        one, two, wrong = (
            engine.workers["parrot"].ask(text, Manner()) for text in ("a b c", "d e f g h i j k", "l wrong")
        )
        said = [(part.text, len(part.waveform)) async for part in one]
        with two:
            assert (await anext(two)).text == "d"
        assert (await anext(wrong)).text == "l"
        with pytest.raises(SpeechError, match="no such word"):
            await anext(wrong)
        assert said == [("a", 4), ("b", 1604), ("c", 1604)]  # 0.2 s of silence are between them

    engine = Engine({"parrot": (model := Parrot())})
    asyncio.run(asyncio.wait_for(work(), 10))
    engine.close()
    assert model.said[:7] == ["a", "d", "l", "b", "e", "c", "f"]
    assert 'parlance_audio_seconds_total{model="parrot"}' in engine.metrics.text()


def test_a_closed_engine_has_no_threads():
    engine = Engine({"echo": Echo(), "parrot": Parrot()})
    engine.close()
    assert not any(worker.thread.is_alive() for worker in engine.workers.values())
