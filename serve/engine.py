"""Requests of many clients at several models: a thread a model, alike recordings in a batch, texts in turn."""

import asyncio
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from serve.errors import ApiError
from serve.limits import Limits
from serve.metrics import Metrics
from serve.sandbox import Decoded, Sandbox
from speech.errors import SpeechError
from speech.request import Request
from speech.talker import Manner, Spoken, Talker
from speech.transcriber import Transcriber

log = logging.getLogger(__name__)
PARTLY_BATCH = 1  # pieces of a recording whose client waits for each


class _Dropped(Exception):
    """Nobody waits any longer for what is being done."""


class Partial(NamedTuple):
    """What is known of a long recording."""

    text: str  # it only grows
    seconds: float  # that are done


class Job:
    """A request at a model: an iterator over its parts for the event loop that asked. Leaving its context drops it.

    A recording has one part, its Transcript, and with `partly` Partials before it; a text has its sentences as Spoken,
    with the silence between them.
    """

    def __init__(self, what: Any, how: Any, seconds: float, partly: bool):
        self.what, self.how, self.partly = what, how, partly
        self.ended = self.dropped = False
        self.loop = asyncio.get_running_loop()
        self.begin, self.until = time.monotonic(), self.loop.time() + seconds
        self.parts: asyncio.Queue[Any] = asyncio.Queue()
        self.sentences: Iterator[Spoken] | None = None

    def __enter__(self) -> "Job":
        return self

    def __exit__(self, *_: object) -> None:
        self.dropped = True

    def send(self, part: Any) -> None:
        if not self.dropped:  # else its loop may be closed
            self.loop.call_soon_threadsafe(self.parts.put_nowait, part)

    def end(self, why: Exception | None = None) -> None:
        self.ended = True
        self.send(why or StopAsyncIteration())

    def __aiter__(self) -> "Job":
        return self

    async def __anext__(self) -> Any:
        """Raises faults, and TimeoutError when the time of a request is over."""
        async with asyncio.timeout_at(self.until):
            part = await self.parts.get()
        if isinstance(part, Exception):
            raise part
        return part


class Worker(ABC):
    """The thread that alone touches a model."""

    def __init__(self, name: str, model: Any, limits: Limits, metrics: Metrics):
        self.name, self.model, self.limits, self.metrics = name, model, limits, metrics
        self.waiting: deque[Job] = deque()
        self.changed = threading.Condition()
        self.closed = False
        self.thread = threading.Thread(target=self._work, name=name, daemon=True)
        self.thread.start()

    @abstractmethod
    def _take(self) -> list[Job]:
        """Some of `waiting`, which has one at least; the lock is held."""

    @abstractmethod
    def _do(self, jobs: list[Job]) -> None: ...

    def ask(self, what: Decoded | str, how: Request | Manner, partly: bool = False) -> Job:
        job = Job(what, how, self.limits.request_seconds, partly)
        self._add(job)
        return job

    def _add(self, job: Job) -> None:
        with self.changed:
            self.waiting.append(job)
            self.changed.notify()

    def close(self) -> None:
        with self.changed:
            self.closed = True
            self.changed.notify()
        self.thread.join()

    def _work(self) -> None:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.waiting or self.closed)
                if self.closed:
                    return
                jobs = self._take()
            self._try(jobs)
            jobs.clear()  # a recording that is answered is not kept until the next comes

    def _try(self, jobs: list[Job]) -> None:
        jobs = [job for job in jobs if not job.dropped]
        try:
            if jobs:
                self._do(jobs)
        except _Dropped:
            pass
        except Exception as error:
            left = [job for job in jobs if not job.ended]
            if len(left) < 2 or isinstance(error, SpeechError):
                for job in left:
                    job.end(error)
            else:
                log.exception("%s: a batch failed, its recordings are tried alone", self.name)
                for job in left:
                    self._try([job])


class Listener(Worker):
    """A recogniser. A batch holds recordings with the same settings; long ones go alone and let others in between."""

    model: Transcriber

    def _long(self, job: Job) -> bool:
        return job.what.seconds > self.model.generation.max_seconds

    def _take(self) -> list[Job]:
        wait = self.waiting[0].begin + self.limits.window_seconds - time.monotonic()
        self.changed.wait_for(lambda: len(self.waiting) >= self.limits.batch_size or self.closed, max(0.0, wait))
        if self._long(self.waiting[0]):
            return [self.waiting.popleft()]
        return self._short()

    def _short(self) -> list[Job]:
        """The oldest and those nearest to it in length, until more than `limits.padding` would be padded."""
        short = [job for job in self.waiting if not self._long(job)]
        alike = [job for job in short if job.how == short[0].how]
        alike.sort(key=lambda job: abs(job.what.seconds - short[0].what.seconds))
        chosen, longest, total = [], 0.0, 0.0
        for job in alike[: self.limits.batch_size]:
            longest, total = max(longest, job.what.seconds), total + job.what.seconds
            if longest * (len(chosen) + 1) > (1 + self.limits.padding) * total:
                break
            chosen.append(job)
            self.waiting.remove(job)
        return chosen

    def _do(self, jobs: list[Job]) -> None:
        job, long, done = jobs[0], self._long(jobs[0]), 0.0

        def between(seconds: float) -> None:
            nonlocal done
            done += seconds
            self.metrics.add("audio_seconds_total", seconds, model=self.name)
            if self.closed or all(job.dropped for job in jobs):
                raise _Dropped
            if long:
                with self.changed:
                    others = self._short()
                self._try(others)

        def partial(_: int, text: str) -> None:
            job.send(Partial(text, done))

        self.metrics.add("batches_total", model=self.name)
        how: dict[str, Any] = {"batch_size": self.limits.batch_size, "progress": between}
        if job.partly and long:
            how |= {"batch_size": PARTLY_BATCH, "partial": partial}
        for index, result in self.model.transcribe_each([job.what for job in jobs], job.how, **how):
            jobs[index].send(result)
            jobs[index].end()


class Speaker(Worker):
    """A voice: a sentence of one text, then one of the next."""

    model: Talker

    def ask(self, what: str, how: Manner) -> Job:  # type: ignore[override]
        if len(what) > (most := self.limits.characters):
            raise ApiError(
                400, f"input: {len(what)} characters, the limit is {most}", "string_above_max_length", "input"
            )
        return super().ask(what, how)

    def _take(self) -> list[Job]:
        return [self.waiting.popleft()]

    def _do(self, jobs: list[Job]) -> None:
        job, silence = jobs[0], 0.0
        if job.sentences is None:
            job.sentences = self.model.speak(job.what, job.how)
        else:
            silence = job.how.sentence_silence * self.model.sample_rate
        said = next(job.sentences, None)
        if said is None:
            return job.end()
        job.send(replace(said, waveform=np.pad(said.waveform, (round(silence), 0))))
        self.metrics.add("audio_seconds_total", len(said.waveform) / self.model.sample_rate, model=self.name)
        self._add(job)


class Engine:
    """Models by name, each with its worker, and the processes that decode for them."""

    def __init__(self, models: Mapping[str, Transcriber | Talker], limits: Limits = Limits()):  # noqa: B008 - frozen
        self.limits, self.metrics, self.sandbox = limits, Metrics(), Sandbox(limits)
        self.decoding = asyncio.Semaphore(limits.decoders)  # who waits for a process keeps no thread
        self.workers: dict[str, Listener | Speaker] = {}
        for name, model in models.items():
            kind = Listener if isinstance(model, Transcriber) else Speaker
            self.workers[name] = kind(name, model, limits, self.metrics)

    async def decode(self, upload: BinaryIO, sample_rate: int) -> Decoded:
        """Raises what `Sandbox.decode` does."""
        async with self.decoding:
            return await asyncio.to_thread(self.sandbox.decode, upload, sample_rate)

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()
        self.sandbox.close()
