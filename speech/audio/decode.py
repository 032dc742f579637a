"""Every sound enters here: file or bytes to mono float32. No path or command inside a file is obeyed."""

import io
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import soundfile as sf

from speech.audio.resample import Resampler
from speech.errors import AudioError

Source = str | Path | bytes | BinaryIO
BLOCK_SAMPLES = 1 << 16
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


@dataclass(frozen=True)
class _Track:
    """An opened recording. The blocks [samples] are mono at its own rate and can be read once."""

    sample_rate: int
    channels: int
    claimed_seconds: float | None  # what its header says about the whole of it
    blocks: Generator[np.ndarray]


def sniff(head: bytes) -> str | None:
    """Container by its first 16 bytes: `sndfile` for what libsndfile reads, else libav's format name, else None."""
    if head[:4] in (b"RIFF", b"RF64", b"RIFX") and head[8:12] == b"WAVE":
        return "sndfile"
    if head[:4] in (b"fLaC", b"OggS") or (head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC")):
        return "sndfile"
    if head[:3] == b"ID3" or head[:7] == b"NIST_1A":
        return "sndfile"
    if head[4:8] == b"ftyp":
        return "mov"
    if head[:4] == b"\x1aE\xdf\xa3":
        return "matroska"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "aac"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return "sndfile"
    return None


def _open(source: Source, stack: ExitStack) -> tuple[BinaryIO, str]:
    """A stream that can seek, and its name in one printable line. Pipes are read into memory."""
    name = str(source if isinstance(source, (str, Path)) else getattr(source, "name", "audio stream"))
    name = "audio bytes" if isinstance(source, bytes) else name if name.isprintable() else ascii(name)
    try:
        if isinstance(source, bytes):
            return io.BytesIO(source), name
        stream = stack.enter_context(Path(source).open("rb")) if isinstance(source, (str, Path)) else source
        return stream if stream.seekable() else io.BytesIO(stream.read()), name
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        raise AudioError(f"{name}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    if text.startswith("File does not exist"):  # how libsndfile says that it finds no frame of MPEG audio
        text = "no audio was found in it"
    return " ".join(text.split()) or type(error).__name__


def _check(name: str, rate: int, channels: int, limits: Limits) -> None:
    if not limits.min_sample_rate <= rate <= limits.max_sample_rate:
        low, high = limits.min_sample_rate, limits.max_sample_rate
        raise AudioError(f"{name}: sample rate {rate} Hz is outside {low} ... {high} Hz")
    if not 1 <= channels <= limits.max_channels:
        raise AudioError(f"{name}: {channels} channels, the limit is {limits.max_channels}")


def _mono(block: np.ndarray) -> np.ndarray:  # [samples, channels] -> [samples]
    channels = block.shape[1]
    return block[:, 0] if channels == 1 else block @ np.full(channels, 1 / channels, np.float32)


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


@contextmanager
def _decoding(name: str, stream: _Quiet) -> Iterator[None]:
    """Whatever a decoder stumbles over is a fault of the file: PyAV and soundfile raise a dozen types."""
    try:
        yield
        if stream.error:
            raise stream.error
    except AudioError:
        raise
    except Exception as error:
        raise AudioError(f"{name}: cannot be decoded: {_reason(stream.error or error)}") from None


class _Sequential(sf.SoundFile):
    """soundfile seeks after each block of a file that can: some flac refuses that, and in mp3 it breaks frames."""

    def seekable(self) -> bool:
        return False


def _sndfile_track(
    stream: _Quiet, name: str, stack: ExitStack, start: float, duration: float | None, limits: Limits
) -> _Track:
    with _decoding(name, stream):
        file = stack.enter_context(_Sequential(cast(BinaryIO, stream)))
    rate, channels = file.samplerate, file.channels
    _check(name, rate, channels, limits)

    def blocks() -> Generator[np.ndarray]:
        with _decoding(name, stream):
            begin = min(round(start * rate), file.frames)
            if begin:
                file.seek(begin)
            left = file.frames - begin  # past its end some flac is followed by tags, which are no frames
            if duration is not None:
                left = min(left, round(duration * rate))
            while left > 0:
                block = file.read(min(left, BLOCK_SAMPLES), "float32", always_2d=True)
                if not len(block):
                    return
                left -= len(block)
                yield _mono(block)

    # A stream that does not know its length has the largest number for it.
    claimed = file.frames / rate if file.frames < 1 << 62 else None
    return _Track(rate, channels, claimed, blocks())


def _av_track(
    stream: _Quiet, kind: str, name: str, stack: ExitStack, start: float, duration: float | None, limits: Limits
) -> _Track:
    import av  # 36 MB that most files never need
    import av.logging

    av.logging.set_level(av.logging.PANIC)
    with _decoding(name, stream):
        container = stack.enter_context(av.open(stream, "r", format=kind, metadata_errors="ignore"))
        if not container.streams.audio:
            raise AudioError(f"{name}: has no audio stream")
        track = container.streams.audio[0]
        if track.codec_context is None:
            raise AudioError(f"{name}: its audio codec is not known")
        rate, channels = track.rate, track.channels
        # The length of bare aac would be a guess from its bit rate; many webm state none.
        claimed = container.duration / 1e6 if container.duration and kind != "aac" else None
    _check(name, rate, channels, limits)

    def blocks() -> Generator[np.ndarray]:
        with _decoding(name, stream):
            # Samples of all channels in one plane: PyAV 18 reads past the planes of a frame that has 8 of them.
            converter = av.AudioResampler(format="flt", layout=track.layout, rate=rate)
            for frame in chain(container.decode(track), [None]):  # None: the tail, where rates differ in a stream
                for part in converter.resample(frame):
                    yield _mono(part.to_ndarray().reshape(-1, channels))

    return _Track(rate, channels, claimed, _cut(blocks(), rate, start, duration))


def _cut(blocks: Iterator[np.ndarray], rate: int, start: float, duration: float | None) -> Generator[np.ndarray]:
    skip, left = round(start * rate), None if duration is None else round(duration * rate)
    for block in blocks:
        used, skip = block[skip:], max(0, skip - len(block))
        if left is not None:
            used, left = used[:left], left - len(used[:left])
        yield used
        if left == 0:
            return


def _track(
    source: Source, stack: ExitStack, start: float, duration: float | None, limits: Limits
) -> tuple[str, _Track]:
    """Open by the first bytes, never by the name or by a decoder's own guess. The stack closes what was opened."""
    stream, name = _open(source, stack)
    if start < 0 or (duration is not None and duration < 0):
        raise AudioError(f"{name}: start {start:g} s and duration {duration} s must not be negative")
    try:
        stream.seek(0)
        head = stream.read(16)
        stream.seek(0)
    except OSError as error:
        raise AudioError(f"{name}: {_reason(error)}") from None
    if not head:
        raise AudioError(f"{name}: is empty (0 bytes)")
    kind = sniff(head)
    if kind is None:
        known = "wav, flac, ogg, opus, mp3, aiff, sph, m4a, mp4, webm, aac"
        raise AudioError(f"{name}: not audio of a known kind ({known})")
    if kind == "sndfile":
        track = _sndfile_track(_Quiet(stream), name, stack, start, duration, limits)
    else:
        track = _av_track(_Quiet(stream), kind, name, stack, start, duration, limits)
    stack.enter_context(closing(track.blocks))
    return name, track


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
    with ExitStack() as stack:
        name, track = _track(source, stack, start, duration, limits)
        too_long = f"{name}: longer than {limits.max_seconds:g} s (Limits.max_seconds)"
        if track.claimed_seconds is not None:
            claimed = track.claimed_seconds - start
            if (claimed if duration is None else min(claimed, duration)) > limits.max_seconds:
                raise TooLong(f"{too_long}: its header says {track.claimed_seconds:.0f} s")
        resampler, count = Resampler(track.sample_rate, sample_rate), 0
        for block in chain(track.blocks, [None]):  # None: the tail of the resampler
            rest = np.zeros(0, np.float32) if block is None else np.ascontiguousarray(block)
            samples = checked(resampler.push(rest, last=block is None), name)
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
        with ExitStack() as stack:
            return _track(source, stack, 0.0, None, Limits())[1].claimed_seconds
    except AudioError:
        return None


def probe(source: Source) -> AudioInfo:
    """Rate, channels and true number of samples; headers are not believed where counting is needed."""
    with ExitStack() as stack:
        name, track = _track(source, stack, 0.0, None, Limits())
        count = sum(len(block) for block in track.blocks)
    if not count:
        raise AudioError(f"{name}: has 0 samples")
    return AudioInfo(track.sample_rate, track.channels, count)
