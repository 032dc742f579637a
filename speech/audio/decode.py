"""Every sound enters here: file or bytes to mono float32. No path or command inside a file is obeyed."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile as sf

from speech.audio.resample import Resampler
from speech.errors import AudioError

Source = str | Path | bytes | BinaryIO
BLOCK_SAMPLES = 1 << 16


@dataclass(frozen=True)
class Limits:
    """What a recording may be; the length is counted in samples after resampling."""

    max_seconds: float = 7200.0
    min_sample_rate: int = 4000
    max_sample_rate: int = 384000
    max_channels: int = 32


@dataclass(frozen=True)
class AudioInfo:
    sample_rate: int
    channels: int
    num_samples: int


def sniff(head: bytes) -> str | None:
    """Container by its first 16 bytes: `sndfile` for what libsndfile reads, else libav's format name, else None."""
    if head[:4] in (b"RIFF", b"RF64", b"RIFX") and head[8:12] == b"WAVE":
        return "sndfile"
    if head[:4] in (b"fLaC", b"OggS") or (head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC")):
        return "sndfile"
    if head[:3] == b"ID3":
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


def _open(source: Source) -> tuple[BinaryIO, str]:
    if isinstance(source, bytes):
        return io.BytesIO(source), "audio bytes"
    if not isinstance(source, (str, Path)):
        return source, str(getattr(source, "name", "audio stream"))
    try:
        return Path(source).open("rb"), str(source)
    except OSError as error:
        raise AudioError(f"{source}: {error.strerror or error}") from None


def _check(name: str, rate: int, channels: int, limits: Limits) -> None:
    if not limits.min_sample_rate <= rate <= limits.max_sample_rate:
        low, high = limits.min_sample_rate, limits.max_sample_rate
        raise AudioError(f"{name}: sample rate {rate} Hz is outside {low} ... {high} Hz")
    if not 1 <= channels <= limits.max_channels:
        raise AudioError(f"{name}: {channels} channels, the limit is {limits.max_channels}")


def _sndfile_blocks(file: sf.SoundFile, name: str, start: float, duration: float | None) -> Iterator[np.ndarray]:
    left = -1 if duration is None else round(duration * file.samplerate)
    try:
        if start:
            file.seek(min(round(start * file.samplerate), file.frames))
        while left:
            block = file.read(BLOCK_SAMPLES if left < 0 else min(left, BLOCK_SAMPLES), "float32", always_2d=True)
            if not len(block):
                return
            left -= len(block) if left > 0 else 0
            yield block.mean(1) if block.shape[1] > 1 else block[:, 0]
    except sf.LibsndfileError as error:
        raise AudioError(f"{name}: cannot be decoded: {error.error_string}") from None


def _av_blocks(stream: BinaryIO, kind: str, name: str, limits: Limits) -> tuple[int, int, Iterator[np.ndarray]]:
    import av  # 36 MB that most files never need

    av.logging.set_level(av.logging.PANIC)
    try:
        container = av.open(stream, format=kind)
        if not container.streams.audio:
            raise AudioError(f"{name}: has no audio stream")
        track = container.streams.audio[0]
        rate, channels = track.rate, track.channels
    except (av.FFmpegError, ValueError) as error:
        raise AudioError(f"{name}: cannot be decoded: {error}") from None
    _check(name, rate, channels, limits)

    def blocks() -> Iterator[np.ndarray]:
        converter = av.AudioResampler(format="fltp", layout=track.layout, rate=rate)
        try:
            for frame in container.decode(track):
                for part in converter.resample(frame):
                    yield part.to_ndarray().mean(0)
        except (av.FFmpegError, ValueError) as error:
            raise AudioError(f"{name}: cannot be decoded: {error}") from None
        finally:
            container.close()

    return rate, channels, blocks()


def _cut(blocks: Iterator[np.ndarray], rate: int, start: float, duration: float | None) -> Iterator[np.ndarray]:
    skip, left = round(start * rate), None if duration is None else round(duration * rate)
    for block in blocks:
        used, skip = block[skip:], max(0, skip - len(block))
        if left is not None:
            used, left = used[:left], left - len(used[:left])
        yield used
        if left == 0:
            return


def _blocks(stream: BinaryIO, name: str, start: float, duration: float | None, limits: Limits):
    try:
        head = stream.read(16)
        stream.seek(0)
    except OSError as error:
        raise AudioError(f"{name}: {error.strerror or error}") from None
    if not head:
        raise AudioError(f"{name}: is empty (0 bytes)")
    kind = sniff(head)
    if kind is None:
        raise AudioError(f"{name}: not audio of a known kind (wav, flac, ogg, opus, mp3, aiff, m4a, mp4, webm, aac)")
    if kind != "sndfile":
        rate, channels, blocks = _av_blocks(stream, kind, name, limits)
        return rate, channels, _cut(blocks, rate, start, duration)
    try:
        file = sf.SoundFile(stream)
    except sf.LibsndfileError as error:
        raise AudioError(f"{name}: cannot be decoded: {error.error_string}") from None
    _check(name, file.samplerate, file.channels, limits)
    return file.samplerate, file.channels, _sndfile_blocks(file, name, start, duration)


def decode(
    source: Source,
    sample_rate: int = 16000,
    *,
    start: float = 0.0,
    duration: float | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> np.ndarray:
    """[samples] float32 mono at sample_rate; start and duration in seconds.

    Channels are averaged. Any fault is an AudioError naming the file: a file that breaks in the middle is refused
    whole, since a transcript that silently lacks its end is worse than an error.
    """
    stream, name = _open(source)
    try:
        rate, _, blocks = _blocks(stream, name, start, duration, limits)
        resampler, parts, total = Resampler(rate, sample_rate), [], 0
        for block in blocks:
            parts.append(resampler.push(np.ascontiguousarray(block)))
            total += len(parts[-1])
            if total > limits.max_seconds * sample_rate:
                raise AudioError(f"{name}: longer than {limits.max_seconds:g} s (Limits.max_seconds)")
        parts.append(resampler.push(np.zeros(0, np.float32), last=True))
    finally:
        if isinstance(source, (str, Path)):
            stream.close()
    samples = np.concatenate(parts)
    if not len(samples):
        raise AudioError(f"{name}: has 0 samples")
    if not np.isfinite(samples).all():
        raise AudioError(f"{name}: has samples that are NaN or infinite")
    return samples


def probe(source: Source) -> AudioInfo:
    """Rate, channels and true number of samples; headers are not believed where counting is needed."""
    stream, name = _open(source)
    try:
        rate, channels, blocks = _blocks(stream, name, 0.0, None, Limits())
        count = sum(len(block) for block in blocks)
    finally:
        if isinstance(source, (str, Path)):
            stream.close()
    if not count:
        raise AudioError(f"{name}: has 0 samples")
    return AudioInfo(rate, channels, count)
