"""librosa's first uses wait for each other."""

import os
import subprocess
import sys
import time
from threading import Event, Thread

import pytest
from filelock import FileLock

from speech import compiled
from speech.compiled import compiling

PITCH = """
import numpy as np
from speech.audio.pitch import pitch
print(pitch(np.sin(220 * 2 * np.pi * np.arange(16000, dtype=np.float32) / 16000), 16000, 200).sum())
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(compiled, "_used", set())
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def use(done: Event) -> Thread:
    def run():
        with compiling("pyin"):
            done.set()

    thread = Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_only_the_first_use_waits(cache):
    first, second = Event(), Event()
    with FileLock(cache / "librosa.lock"):
        thread = use(first)
        assert not first.wait(0.3)
    thread.join()
    assert first.is_set()
    with FileLock(cache / "librosa.lock"):
        use(second).join()
        assert second.is_set()


def test_a_use_that_failed_was_none(cache):
    with pytest.raises(ZeroDivisionError), compiling("pyin"):
        raise ZeroDivisionError
    with FileLock(cache / "librosa.lock"):
        thread = use(done := Event())
        assert not done.wait(0.3)
    thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.5, 1.2])
def test_two_processes_on_an_empty_cache(tmp_path, seconds):
    """Without the lock one of them or the next one died of a segmentation fault, in two of five such pairs."""
    run = [sys.executable, "-c", PITCH]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    first = subprocess.Popen(run, env=environment, stdout=subprocess.PIPE)
    time.sleep(seconds)
    second = subprocess.Popen(run, env=environment, stdout=subprocess.PIPE)
    texts = {process.communicate()[0] for process in (first, second)}
    texts.add(subprocess.run(run, env=environment, stdout=subprocess.PIPE, check=True).stdout)
    assert len(texts) == 1 and first.returncode == second.returncode == 0
