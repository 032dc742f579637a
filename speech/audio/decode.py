"""Every sound enters here: file or bytes to mono float32. No path or command inside a file is obeyed."""

import io
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np
import soundfile as sf

from speech.audio.resample import Resampler
from speech.errors import AudioError

Source = str | Path | bytes | BinaryIO
BLOCK_SAMPLES = 1 << 14
MAX_LEVEL = 100.0  # mixing may pass 1; samples at the scale of 16 bits pass this


@dataclass(frozen=True)
class Limits:
    """What a recording may be; the length is counted in samples after resampling."""

    max_seconds: float = 7200.0
    min_sample_rate: int = 4000
    max_sample_rate: int = 384000
    max_channels: int = 32


class TooLong(AudioError):
    """Longer than max_seconds."""


@dataclass(frozen=True)
class AudioInfo:
    sample_rate: int
    channels: int
    num_samples: int


class _Track(NamedTuple):
    """An opened recording; the blocks can be read once."""

    sample_rate: int
    channels: int
    claimed_seconds: float | None  # what its header says about the whole of it
    blocks: Generator[np.ndarray]  # [samples, channels] at its own rate


def sniff(head: bytes) -> str | None:
    """Container by its first 16 bytes: `sndfile` for what libsndfile reads, else libav's format name, else None."""
    if head[8:12] == b"WAVE" and head[:4] in (b"RIFF", b"RF64", b"RIFX"):
        return "sndfile"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "sndfile"
    if head.startswith((b"fLaC", b"OggS", b"ID3", b"NIST_1A")):
        return "sndfile"
    if head[4:8] == b"ftyp":
        return "mov"
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "matroska"
    if head[:1] == b"\xff" and head[1:2] >= b"\xe0":  # the sync of MPEG audio; layer 0 is that of ADTS
        return "aac" if head[1] & 0xF6 == 0xF0 else "sndfile"
    return None


def _name(source: Source) -> str:
    """In one printable line."""
    name = str(source if isinstance(source, (str, Path)) else getattr(source, "name", "audio stream"))
    return "audio bytes" if isinstance(source, bytes) else name if name.isprintable() else ascii(name)


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    if text.startswith("File does not exist"):  # how libsndfile says that it finds no frame of MPEG audio
        text = "no audio was found in it"
    return " ".join(text.split()) or type(error).__name__


class _Quiet:
    """A stream for the callbacks of decoders: an error cannot cross C, so it is kept for later."""

    def __init__(self, stream: BinaryIO):
        self.stream = stream
        self.tell = stream.tell
        self.error: OSError | None = None

    def read(self, size: int) -> bytes:
        try:
            return self.stream.read(size)
        except OSError as error:
            self.error = error
            return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self.stream.seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -1  # a broken header asks for a place that cannot be


class _Sequential(sf.SoundFile):
    """soundfile seeks after each block of a file that can: some flac refuses that, and in mp3 it breaks frames."""

    def seekable(self) -> bool:
        return False


def _sndfile_track(stream: _Quiet, stack: ExitStack, start: float, duration: float | None) -> _Track:
    file = stack.enter_context(_Sequential(cast(BinaryIO, stream)))
    rate = file.samplerate

    def blocks() -> Generator[np.ndarray]:
        begin = min(round(start * rate), file.frames)
        if begin:
            file.seek(begin)
        left = file.frames - begin  # past its end some flac is followed by tags, which are no frames
        if duration is not None:
            left = min(left, round(duration * rate))
        while left > 0 and len(block := file.read(min(left, BLOCK_SAMPLES), "float32", always_2d=True)):
            left -= len(block)
            yield block

    # A stream that does not know its length has the largest number for it.
    return _Track(rate, file.channels, file.frames / rate if file.frames < 1 << 62 else None, blocks())


def _libav_track(stream: _Quiet, kind: str, stack: ExitStack, start: float, duration: float | None) -> _Track:
    import av  # 36 MB that most files never need
    import av.logging

    av.logging.set_level(av.logging.PANIC)
    container = stack.enter_context(av.open(stream, "r", format=kind, metadata_errors="ignore"))
    if not container.streams.audio:
        raise ValueError("it has no audio stream")
    track = container.streams.audio[0]
    if track.codec_context is None:
        raise ValueError("its audio codec is not known")
    rate, channels = track.rate, track.channels

    def blocks() -> Generator[np.ndarray]:
        # Samples of all channels in one plane: PyAV 18 reads past the planes of a frame that has 8 of them.
        converter = av.AudioResampler(format="flt", layout=track.layout, rate=rate, frame_size=BLOCK_SAMPLES)
        skip, left = round(start * rate), None if duration is None else round(duration * rate)
        for frame in chain(container.decode(track), [None]):  # None: the tail
            for part in converter.resample(frame):
                block = part.to_ndarray().reshape(-1, channels)
                used, skip = block[skip:][:left], max(0, skip - len(block))
                yield used
                if left is not None and (left := left - len(used)) == 0:
                    return

    # The length of bare aac would be a guess from its bit rate; many webm state none.
    return _Track(rate, channels, container.duration / 1e6 if container.duration and kind != "aac" else None, blocks())


@contextmanager
def _opened(
    source: Source, limits: Limits, start: float = 0.0, duration: float | None = None
) -> Iterator[tuple[str, _Track]]:
    """Its name, and what is in it by the first bytes, never by the name or by a decoder's own guess.

    Whatever a decoder stumbles over in the context is a fault of the file: PyAV and soundfile raise a dozen types.
    """
    name = _name(source)
    if start < 0 or (duration is not None and duration < 0):
        raise AudioError(f"{name}: start {start:g} s and duration {duration} s must not be negative")
    with ExitStack() as stack:
        try:
            file = io.BytesIO(source) if isinstance(source, bytes) else source
            file = stack.enter_context(Path(file).open("rb")) if isinstance(file, (str, Path)) else file
            file = file if file.seekable() else io.BytesIO(file.read())  # a pipe
            file.seek(0)
            head = file.read(16)
            file.seek(0)
        except (OSError, ValueError) as error:  # ValueError: a path with a NUL
            raise AudioError(f"{name}: {_reason(error)}") from None
        if not head:
            raise AudioError(f"{name}: is empty (0 bytes)")
        kind = sniff(head)
        if kind is None:
            known = "wav, flac, ogg, opus, mp3, aiff, sph, m4a, mp4, webm, aac"
            raise AudioError(f"{name}: not audio of a known kind ({known})")
        stream, cut = _Quiet(file), (stack, start, duration)
        try:
            track = _sndfile_track(stream, *cut) if kind == "sndfile" else _libav_track(stream, kind, *cut)
            _check(name, track, limits)
            stack.enter_context(closing(track.blocks))
            yield name, track
            if stream.error:
                raise stream.error
        except Exception as error:
            if isinstance(error, AudioError) and not stream.error:
                raise
            raise AudioError(f"{name}: cannot be decoded: {_reason(stream.error or error)}") from None


def _check(name: str, track: _Track, limits: Limits) -> None:
    if not limits.min_sample_rate <= track.sample_rate <= limits.max_sample_rate:
        low, high = limits.min_sample_rate, limits.max_sample_rate
        raise AudioError(f"{name}: sample rate {track.sample_rate} Hz is outside {low} ... {high} Hz")
    if not 1 <= track.channels <= limits.max_channels:
        raise AudioError(f"{name}: {track.channels} channels, the limit is {limits.max_channels}")


def decode(
    source: Source,
    sample_rate: int = 16000,
    *,
    start: float = 0.0,
    duration: float | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> np.ndarray:
    """[samples] float32 mono at sample_rate; start and duration in seconds.

    Channels are averaged. Any fault is an AudioError naming the file: a file with a break that its decoder sees is
    refused whole, since a transcript that silently lacks its end is worse than an error.
    """
    samples = bytearray()  # grows in place
    for block in stream(source, sample_rate, start=start, duration=duration, limits=limits):
        samples += block.data
    return np.frombuffer(samples, np.float32)


def stream(
    source: Source,
    sample_rate: int = 16000,
    *,
    start: float = 0.0,
    duration: float | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Generator[np.ndarray]:
    """`decode` in blocks as they come, none of them empty: however long a recording, memory stays small.

    A fault in the middle comes as an AudioError after the blocks before it.
    """
    with _opened(source, limits, start, duration) as (name, track):
        too_long = f"{name}: longer than {limits.max_seconds:g} s (Limits.max_seconds)"
        if track.claimed_seconds is not None:
            claimed = track.claimed_seconds - start
            if (claimed if duration is None else min(claimed, duration)) > limits.max_seconds:
                raise TooLong(f"{too_long}: its header says {track.claimed_seconds:.0f} s")
        resampler, count = Resampler(track.sample_rate, sample_rate), 0
        weights = np.full(track.channels, 1 / track.channels, np.float32)
        for block in chain(track.blocks, [None]):  # None: the tail of the resampler
            mono = np.zeros(0, np.float32) if block is None else block @ weights
            samples = checked(resampler.push(mono, last=block is None), name)
            count += len(samples)
            if count > limits.max_seconds * sample_rate:
                raise TooLong(too_long)
            if len(samples):
                yield samples
        if not count:
            raise AudioError(f"{name}: has 0 samples" + (f" from {start:g} s on" if start else ""))


def checked(x: np.ndarray, name: str) -> np.ndarray:
    """The samples; AudioError if one is no number or far outside [-1, 1]."""
    level = np.abs(x).max(initial=0.0)
    if not np.isfinite(level):
        raise AudioError(f"{name}: has samples that are NaN or infinite")
    if level > MAX_LEVEL:
        what = f"has a sample of {level:g}, floating-point ones lie in [-1, 1]"
        raise AudioError(f"{name}: {what}; divide those at the scale of 16 bits by 32768")
    return x


def claimed_seconds(source: Source) -> float | None:
    """Length by the header alone, for progress; None where it says nothing or the file cannot be opened."""
    try:
        with _opened(source, Limits()) as (_, track):
            return track.claimed_seconds
    except AudioError:
        return None


def probe(source: Source) -> AudioInfo:
    """Rate, channels and true number of samples; headers are not believed where counting is needed."""
    with _opened(source, Limits()) as (name, track):
        count = sum(len(block) for block in track.blocks)
        if not count:
            raise AudioError(f"{name}: has 0 samples")
        return AudioInfo(track.sample_rate, track.channels, count)
