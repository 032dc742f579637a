"""Sounds and files that the tests of decoding make themselves."""

import io
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
import soundfile as sf


def tone(rate: int, seconds: float = 1.0, hz: float = 440.0, channels: int = 1) -> np.ndarray:
    x = (0.5 * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)
    return x if channels == 1 else np.stack([x] * channels, 1)


def noise(rate: int, seconds: float, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(rate * seconds))).astype(np.float32)


def snd(x: np.ndarray, rate: int, form: str, subtype: str | None = None) -> bytes:
    """A file as libsndfile writes it."""
    file = io.BytesIO()
    sf.write(file, x, rate, format=form, subtype=subtype)
    return file.getvalue()


def libav(x: np.ndarray, rate: int, form: str, codec: str, layout: str = "mono", options=None, metadata=None) -> bytes:
    """A file as PyAV writes it; x is [samples] or [samples, channels]."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "x")
        with av.open(str(path), "w", format=form, options=options or {}) as file:
            track = file.add_stream(codec, rate=rate, layout=layout)
            file.metadata.update(metadata or {})
            whole = av.AudioFrame.from_ndarray(np.ascontiguousarray(x.reshape(1, -1)), format="flt", layout=layout)
            whole.sample_rate, whole.pts = rate, 0
            fifo = av.AudioFifo()
            for frame in av.AudioResampler(track.codec_context.format, layout, rate).resample(whole):
                fifo.write(frame)
            while (frame := fifo.read(track.codec_context.frame_size or 1024)) is not None:
                file.mux(track.encode(frame))
            if (frame := fifo.read()) is not None:
                file.mux(track.encode(frame))
            file.mux(track.encode(None))
        return path.read_bytes()


def silence(form: str, codec: str, rate: int, seconds: float, options=None) -> bytes:
    """One packet again and again, so that hours take no time."""
    file = io.BytesIO()
    with av.open(file, "w", format=form, options=options or {}) as container:
        track = container.add_stream(codec, rate=rate, layout="mono")
        track.codec_context.open()
        samples, packets = track.codec_context.frame_size, []
        for i in range(20):
            frame = av.AudioFrame(track.codec_context.format.name, "mono", samples)
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.sample_rate, frame.pts = rate, i * samples
            packets += track.encode(frame)
        data = bytes(packets[-1])
        for i in range(round(seconds * rate / samples)):
            packet = av.Packet(data)
            packet.stream, packet.time_base, packet.duration = track, packets[-1].time_base, packets[-1].duration
            packet.pts = packet.dts = i * packets[-1].duration
            container.mux_one(packet)
    return file.getvalue()


def video_only() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        track = container.add_stream("mpeg4", rate=10)
        track.width, track.height, track.pix_fmt = 16, 16, "yuv420p"
        for i in range(3):
            frame = av.VideoFrame(16, 16, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.pts = i
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
    return file.getvalue()


def peak_hz(x: np.ndarray, rate: int) -> float:
    """Frequency of the strongest bin; the middle of the sound, so that a codec's edges do not count."""
    middle = x[len(x) // 8 : len(x) - len(x) // 8]
    size = 1 << 18
    return float(np.argmax(np.abs(np.fft.rfft(middle * np.hanning(len(middle)), size))) * rate / size)
