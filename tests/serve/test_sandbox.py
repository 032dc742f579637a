"""Decoding elsewhere gives what decoding here gives; what breaks a decoder is one fault of that file."""

import io
import os
import re
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sounds import silence

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


@pytest.mark.parametrize("limits", [Limits(decoders=1, decode_seconds=0.01), Limits(decoders=1, decode_bytes=1 << 18)])
def test_time_and_memory_end(limits):
    made, begin = Sandbox(limits), time.monotonic()
    with pytest.raises((ApiError, AudioError), match="file: cannot be decoded"):
        made.decode(audio(1.0), RATE)
    assert time.monotonic() - begin < 5
    made.close()


def test_a_process_whose_sound_nobody_takes_ends():
    decoder = Sandbox(Limits(decoders=1, decode_seconds=0.5)).idle.get()
    decoder._start()
    decoder.pipe.send(RATE)
    decoder.pipe.send_bytes(audio(20.0).getvalue())
    assert decoder.process.wait(5) == -signal.SIGALRM
    decoder.stop()


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="looks into /proc")
def test_it_works_nowhere_opens_nothing_and_knows_no_keys(sandbox, monkeypatch):
    monkeypatch.setenv("SPEECH_API_KEYS", "hush")
    sandbox.idle.queue[0].stop()  # the next one starts in this environment
    sandbox.decode(audio(0.1), RATE)
    process = Path(f"/proc/{sandbox.idle.queue[0].process.pid}")
    assert str((process / "cwd").readlink()).endswith("(deleted)")
    assert re.search(r"Max open files +0 +0 ", (process / "limits").read_text())
    assert re.search(r"Max file size +0 +0 ", (process / "limits").read_text())
    assert b"PATH=" in (seen := (process / "environ").read_bytes()) and b"hush" not in seen


def quiet(kind: str, seconds: int) -> bytes:
    """Silence, which takes next to no bytes."""
    if kind == "flac":
        with soundfile.SoundFile(file := io.BytesIO(), "w", RATE, 1, format="FLAC") as one:
            for _ in range(seconds // 10):
                one.write(np.zeros(10 * RATE, np.float32))
        return file.getvalue()
    form, codec = {"m4a": ("ipod", "aac"), "opus": ("ogg", "libopus"), "mp3": ("mp3", "libmp3lame")}[kind]
    return silence(form, codec, RATE, seconds, {"write_xing": "0"} if kind == "mp3" else None)


def status(pid: int | str, key: str) -> float:
    return 1e3 * int(Path(f"/proc/{pid}/status").read_text().split(f"{key}:")[1].split()[0])


def crowded() -> bytes:
    """A few bytes that tell of thirty million packets, each of which has its place in a table."""
    data = bytearray(quiet("m4a", 10))
    count, many = round(10 * RATE / 1024).to_bytes(4), (30_000_000).to_bytes(4)
    for box, at in ((b"stsz", 12), (b"stsc", 16), (b"stts", 12)):
        begin = data.index(box) + at
        assert data[begin : begin + 4] == count, box
        data[begin : begin + 4] = many
    return bytes(data)


BOMBS = {kind: partial(quiet, kind, 300) for kind in ("flac", "m4a", "opus", "mp3")} | {"crowded m4a": crowded}


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads memory in /proc")
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_fill_no_memory(name):
    made, data, before = Sandbox(Limits(decoders=1)), BOMBS[name](), {}
    made.decode(io.BytesIO(quiet(name.split()[-1], 10)), 48000)
    for pid in ("self", made.idle.queue[0].process.pid):
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # forgets the peak
        before[pid] = status(pid, "VmRSS")
    if name == "crowded m4a":
        with pytest.raises(AudioError):
            made.decode(io.BytesIO(data), 48000)
    else:
        assert made.decode(io.BytesIO(data), 48000).seconds * 48000 * 4 > 50e6 > 50 * len(data)
    for pid, value in before.items():
        assert status(pid, "VmHWM") - value < 30e6
    made.close()
