"""Uploads are decoded in other processes: what breaks a decoder ends there, not here. For Linux and macOS."""

import os
import queue
import re
import subprocess
import sys
import tempfile
import time
from multiprocessing import Pipe
from typing import BinaryIO

import numpy as np
import soundfile as sf

from serve.decoder import BROKEN, DONE, LONG, NAME
from serve.errors import ApiError
from serve.limits import Limits
from speech.audio import decode
from speech.errors import AudioError

IN_MEMORY = 4 << 20  # bytes of a decoded recording; longer ones lie in a file without a name
KEPT = re.compile("(PATH|HOME|LANG|TMPDIR|LC_.*|PYTHON.*|(LD|DYLD)_LIBRARY_PATH)$")  # of the environment: no keys
FAULTS = {BROKEN: AudioError, LONG: decode.TooLong}


class Decoded(tempfile.SpooledTemporaryFile, BinaryIO):
    """A recording as wav of the wanted rate."""

    name = NAME  # type: ignore[assignment]
    seconds = 0.0


class Sandbox:
    """Thread-safe; as many recordings are decoded at once as there are processes, which start when they are needed."""

    def __init__(self, limits: Limits):
        self.limits = limits
        self.idle: queue.LifoQueue[_Decoder] = queue.LifoQueue()
        for _ in range(limits.decoders):
            self.idle.put(_Decoder(limits))

    def decode(self, upload: BinaryIO, sample_rate: int) -> Decoded:
        """AudioError for what is broken, TooLong, ApiError 415 for what is no audio."""
        head = upload.read(16)
        if head and decode.sniff(head) is None:
            raise ApiError(415, f"{NAME}: no audio of a known kind; see the documentation", "unsupported_format", NAME)
        upload.seek(0)
        decoder = self.idle.get()
        try:
            return decoder.decode(upload.read(), sample_rate)
        finally:
            self.idle.put(decoder)

    def close(self) -> None:
        for _ in range(self.limits.decoders):
            self.idle.get().stop()


class _Decoder:
    def __init__(self, limits: Limits):
        self.limits, self.process = limits, None

    def _start(self) -> None:
        self.pipe, there = Pipe()
        limits = self.limits.decode_bytes, self.limits.decode_seconds, self.limits.audio_seconds
        command = [sys.executable, "-m", "serve.decoder", *map(str, (there.fileno(), *limits))]
        environment = {name: value for name, value in os.environ.items() if KEPT.match(name)}
        environment["OPENBLAS_NUM_THREADS"] = "1"  # threads take addresses
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(
            command, stdin=quiet, stdout=quiet, stderr=quiet, env=environment, pass_fds=[there.fileno()]
        )
        there.close()

    def stop(self) -> None:
        if self.process is not None:
            self.pipe.close()
            self.process.kill()
            self.process.wait()
            self.process = None

    def decode(self, data: bytes, sample_rate: int) -> Decoded:
        if self.process is None or self.process.poll() is not None:
            self.stop()
            self._start()
        out = Decoded(IN_MEMORY)
        try:
            self.pipe.send(sample_rate)
            self.pipe.send_bytes(data)
            self._receive(out, sample_rate)
        except AudioError:
            raise
        except BaseException as error:
            self.stop()  # what it still sends is not for the next recording
            if isinstance(error, (EOFError, OSError)):
                raise ApiError(400, f"{NAME}: cannot be decoded", "audio_undecodable", NAME) from None
            raise
        out.seek(0)
        return out

    def _receive(self, out: Decoded, sample_rate: int) -> None:
        end, samples = time.monotonic() + self.limits.decode_seconds, 0
        with sf.SoundFile(out, "w", sample_rate, 1, "FLOAT", format="WAV") as wav:
            while True:
                if not self.pipe.poll(max(0.0, end - time.monotonic())):
                    raise EOFError("too slow")
                kind, block = self.pipe.recv_bytes(), self.pipe.recv_bytes()
                if kind in FAULTS:
                    raise FAULTS[kind](block.decode())
                if kind == DONE:
                    break
                samples += len(block) // 4
                wav.write(np.frombuffer(block, np.float32))
        out.seconds = samples / sample_rate
