"""Requests of many clients at several models: a thread a model, alike recordings in a batch, texts in turn."""

import asyncio
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from serve.limits import Limits
from serve.metrics import Metrics
from serve.sandbox import Decoded
from speech.errors import SpeechError
from speech.request import Request
from speech.talker import Manner, Talker
from speech.transcriber import Transcriber

log = logging.getLogger(__name__)


class _Dropped(Exception):
    """Nobody waits any longer for what is being done."""


class Job:
    """A request at a model. Its parts come to the event loop that asked; leaving the context drops what is left."""

    def __init__(self, what: Decoded | str, how: Request | Manner):
        self.what, self.how = what, how
        self.answered = self.dropped = False
        self.begin, self.loop = time.monotonic(), asyncio.get_running_loop()
        self.parts: asyncio.Queue[Any] = asyncio.Queue()
        self.sentences: Iterator[tuple[np.ndarray, list[str]]] | None = None

    def __enter__(self) -> "Job":
        return self

    def __exit__(self, *_: object) -> None:
        self.dropped = True

    def send(self, part: Any) -> None:
        self.answered = True
        if not self.dropped:  # else its loop may be closed
            self.loop.call_soon_threadsafe(self.parts.put_nowait, part)

    async def next(self) -> Any:
        """The Transcript of a recording; of a text [samples] by sentences, then None. Raises faults."""
        part = await self.parts.get()
        if isinstance(part, Exception):
            raise part
        return part


class Worker(ABC):
    """The thread that alone touches a model."""

    def __init__(self, name: str, limits: Limits, metrics: Metrics):
        self.name, self.limits, self.metrics = name, limits, metrics
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

    def add(self, job: Job) -> Job:
        with self.changed:
            self.waiting.append(job)
            self.changed.notify()
        return job

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
            self._try([job for job in jobs if not job.dropped])

    def _try(self, jobs: list[Job]) -> None:
        try:
            if jobs:
                self._do(jobs)
        except _Dropped:
            pass
        except Exception as error:
            left = [job for job in jobs if not job.answered or job.sentences]
            if len(left) < 2 or isinstance(error, SpeechError):
                for job in left:
                    job.send(error)
            else:
                log.exception("%s: a batch failed, its recordings are tried alone", self.name)
                for job in left:
                    self._try([job])


class Listener(Worker):
    """A recogniser. A batch holds recordings with the same settings; long ones go alone and let others in between."""

    def __init__(self, name: str, model: Transcriber, limits: Limits, metrics: Metrics):
        self.model = model
        super().__init__(name, limits, metrics)

    def _long(self, job: Job) -> bool:
        assert isinstance(job.what, Decoded)
        return job.what.seconds > self.model.generation.max_seconds

    def _take(self) -> list[Job]:
        wait = self.waiting[0].begin + self.limits.window_seconds - time.monotonic()
        self.changed.wait_for(lambda: len(self.waiting) >= self.limits.batch_size or self.closed, max(0.0, wait))
        if self._long(self.waiting[0]):
            return [self.waiting.popleft()]
        return self._short()

    def _short(self) -> list[Job]:
        first = next((job for job in self.waiting if not self._long(job)), None)
        if first is None:
            return []
        alike = [job for job in self.waiting if job.how == first.how and not self._long(job)]
        for job in alike[: self.limits.batch_size]:
            self.waiting.remove(job)
        return alike[: self.limits.batch_size]

    def _do(self, jobs: list[Job]) -> None:
        def between(seconds: float) -> None:
            self.metrics.add("audio_seconds_total", seconds, model=self.name)
            if self.closed or all(job.dropped for job in jobs):
                raise _Dropped
            if self._long(jobs[0]):
                with self.changed:
                    others = self._short()
                self._try([job for job in others if not job.dropped])

        self.metrics.add("batches_total", model=self.name)
        found = self.model.transcribe_each(
            [job.what for job in jobs],  # type: ignore[misc]
            jobs[0].how,  # type: ignore[arg-type]
            self.limits.batch_size,
            progress=between,
        )
        for index, result in found:
            jobs[index].send(result)


class Speaker(Worker):
    """A voice: a sentence of one text, then one of the next."""

    def __init__(self, name: str, model: Talker, limits: Limits, metrics: Metrics):
        self.model = model
        super().__init__(name, limits, metrics)

    def _take(self) -> list[Job]:
        return [self.waiting.popleft()]

    def _do(self, jobs: list[Job]) -> None:
        job = jobs[0]
        if job.sentences is None:
            job.sentences = self.model.stream(job.what, job.how)  # type: ignore[arg-type]
        part = next(job.sentences, None)
        job.send(None if part is None else part[0])
        if part is not None:
            self.metrics.add("audio_seconds_total", len(part[0]) / self.model.sample_rate, model=self.name)
            self.add(job)


class Engine:
    """Models by name, each with its worker."""

    def __init__(self, models: Mapping[str, Transcriber | Talker], limits: Limits = Limits()):  # noqa: B008 - frozen
        self.limits, self.metrics = limits, Metrics()
        self.workers: dict[str, Listener | Speaker] = {}
        for name, model in models.items():
            kind = Listener if isinstance(model, Transcriber) else Speaker
            self.workers[name] = kind(name, model, limits, self.metrics)  # type: ignore[arg-type]

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()
