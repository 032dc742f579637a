"""The process that decodes uploads. It has few addresses and little time, can open nothing and works nowhere."""

import io
import os
import signal
import sys
import tempfile
from multiprocessing.connection import Connection
from resource import RLIMIT_AS, RLIMIT_FSIZE, RLIMIT_NOFILE, getpagesize, setrlimit

import av.logging
import av.subtitles.stream  # noqa: F401 - loaded by PyAV when it opens a file, which is too late here

from speech.audio.decode import Limits, TooLong, stream
from speech.errors import AudioError

SOUND, DONE, BROKEN, LONG = b"sound", b"done", b"broken", b"long"  # what the next message is
NAME = "file"  # of the field, as errors call it


class _Upload(io.BytesIO):
    name = NAME


def serve(pipe: Connection, limits: Limits, seconds: float) -> None:
    while True:
        try:
            sample_rate, data = pipe.recv(), pipe.recv_bytes()
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_REAL, seconds)  # kills; who waits for the answer may be dead
        kind, last = DONE, b""
        try:
            for block in stream(_Upload(data), sample_rate, limits=limits):
                pipe.send_bytes(SOUND)
                pipe.send_bytes(block.data)
        except AudioError as error:
            kind, last = LONG if isinstance(error, TooLong) else BROKEN, str(error).encode()
        pipe.send_bytes(kind)
        pipe.send_bytes(last)
        signal.setitimer(signal.ITIMER_REAL, 0)


def mapped() -> int:
    """Bytes of addresses in use; libraries take more of them the more cores there are."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * getpagesize()
    except FileNotFoundError:  # not on Linux, where alone the limit is kept
        return 0


if __name__ == "__main__":
    pipe, more, decode_seconds, audio_seconds = sys.argv[1:]
    addresses = mapped() + int(more)
    with tempfile.TemporaryDirectory() as nowhere:
        os.chdir(nowhere)
    for limit, value in ((RLIMIT_AS, addresses), (RLIMIT_FSIZE, 0), (RLIMIT_NOFILE, 0)):
        setrlimit(limit, (value, value))
    serve(Connection(int(pipe)), Limits(float(audio_seconds)), float(decode_seconds))
