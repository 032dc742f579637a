"""The process that decodes uploads, with few addresses, no files and an empty working directory that is gone."""

import io
import os
import resource
import sys
import tempfile
from multiprocessing.connection import Connection

from speech.audio.decode import Limits, TooLong, stream
from speech.errors import AudioError

SOUND, DONE, BROKEN, LONG = b"sound", b"done", b"broken", b"long"  # what the next message is
NAME = "file"  # of the field, as errors call it


class _Upload(io.BytesIO):
    name = NAME


def serve(pipe: Connection) -> None:
    while True:
        try:
            data, sample_rate, seconds = pipe.recv()
        except EOFError:
            return
        kind, last = DONE, b""
        try:
            for block in stream(_Upload(data), sample_rate, limits=Limits(max_seconds=seconds)):
                pipe.send_bytes(SOUND)
                pipe.send_bytes(block.data)
        except AudioError as error:
            kind, last = LONG if isinstance(error, TooLong) else BROKEN, str(error).encode()
        except MemoryError:
            return
        pipe.send_bytes(kind)
        pipe.send_bytes(last)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as nowhere:
        os.chdir(nowhere)
    addresses = int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (addresses, addresses))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    serve(Connection(int(sys.argv[1])))
