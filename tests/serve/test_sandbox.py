"""Decoding elsewhere gives what decoding here gives; what breaks a decoder is one fault of that file."""

import io
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serve.errors import ApiError
from serve.limits import Limits
from serve.sandbox import IN_MEMORY, Sandbox
from speech.audio.decode import TooLong, decode
from speech.errors import AudioError

RATE = 8000


def audio(seconds: float, format: str = "FLAC", rate: int = 44100, value: float | None = None) -> io.BytesIO:
    x = np.random.default_rng(0).normal(0, 0.1, round(seconds * rate)) if value is None else np.full(rate, value)
    soundfile.write(out := io.BytesIO(), x, rate, subtype="FLOAT" if format == "WAV" else None, format=format)
    out.seek(0)
    return out


@pytest.fixture(scope="module")
def sandbox():
    yield (made := Sandbox(Limits(decoders=1)))
    made.close()


@pytest.mark.parametrize("format", ["FLAC", "WAV", "OGG", "MP3"])
def test_the_samples_are_the_same(sandbox, format):
    given = audio(1.5, format)
    found = sandbox.decode(given, RATE)
    np.testing.assert_array_equal(decode(found, RATE), truth := decode(given.getvalue(), RATE))
    assert found.seconds == len(truth) / RATE


def test_long_recordings_leave_memory(sandbox, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = sandbox.decode(audio(1.5 * IN_MEMORY / 4 / RATE, rate=RATE), RATE)
    assert found._rolled and not list(tmp_path.iterdir())  # a file without a name


@pytest.mark.parametrize(
    ("data", "fault", "message"),
    [
        (b"", AudioError, r"file: is empty \(0 bytes\)"),
        (b"RIFF1234WAVEfmt and then nothing of the kind", AudioError, "file: cannot be decoded"),
        (audio(1.0).getvalue()[:3000], AudioError, "file: "),
        (audio(1.0, "WAV", value=np.nan).getvalue(), AudioError, "file: has samples that are NaN"),
        (audio(31.0, rate=RATE).getvalue(), TooLong, "file: longer than 30 s"),
        (b"ffconcat version 1.0\nfile secret.wav\n", ApiError, "no audio of a known kind"),
        (b"#EXTM3U\n#EXTINF:1,\nsecret.wav\n", ApiError, "no audio of a known kind"),
    ],
)
def test_faults_of_files(data, fault, message):
    made = Sandbox(Limits(decoders=1, audio_seconds=30.0))
    with pytest.raises(fault, match=message):
        made.decode(io.BytesIO(data), RATE)
    made.close()


def test_a_process_that_dies_takes_one_recording_with_it(sandbox):
    sandbox.decode(audio(0.1), RATE)
    decoder = sandbox.idle.queue[0]
    before = decoder.process.pid
    os.kill(before, signal.SIGSTOP)  # it dies in the middle
    dying = subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -SEGV {before}; kill -CONT {before}"])
    with pytest.raises(ApiError, match="file: cannot be decoded") as told:
        sandbox.decode(audio(0.1), RATE)
    dying.wait()
    assert (told.value.status_code, told.value.code) == (400, "audio_undecodable")
    assert sandbox.decode(audio(0.1), RATE).seconds and decoder.process.pid != before


def test_what_is_left_of_a_recording_is_not_in_the_next(sandbox, monkeypatch):
    def full(*_) -> None:
        raise MemoryError

    first, given = audio(20.0), audio(0.5)
    with monkeypatch.context() as here, pytest.raises(MemoryError):
        here.setattr(soundfile.SoundFile, "write", full)
        sandbox.decode(first, RATE)
    found = sandbox.decode(given, RATE)
    np.testing.assert_array_equal(decode(found, RATE), decode(given.getvalue(), RATE))


@pytest.mark.parametrize("limits", [Limits(decoders=1, decode_seconds=0.01), Limits(decoders=1, decode_bytes=1 << 26)])
def test_time_and_memory_end(limits):
    made, begin = Sandbox(limits), time.monotonic()
    with pytest.raises(ApiError, match="file: cannot be decoded"):
        made.decode(audio(1.0), RATE)
    assert time.monotonic() - begin < 5
    made.close()


def test_it_works_nowhere(sandbox):
    sandbox.decode(audio(0.1), RATE)
    folder = Path(f"/proc/{sandbox.idle.queue[0].process.pid}/cwd")
    if folder.parent.exists():
        assert str(folder.readlink()).endswith("(deleted)")


def test_a_bomb_does_not_fill_the_memory_of_the_server(sandbox):
    bomb = io.BytesIO()
    with soundfile.SoundFile(bomb, "w", RATE, 1, format="FLAC") as file:
        for _ in range(75):
            file.write(np.zeros(100 * RATE, np.float32))
    bomb.seek(0)
    assert len(bomb.getvalue()) < 3e6
    before = resident()
    with pytest.raises(TooLong, match="longer than 7200 s"):
        sandbox.decode(bomb, RATE)
    assert resident() - before < 100e6


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
