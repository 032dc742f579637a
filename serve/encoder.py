"""Sound to the formats of a speech answer, block by block."""

import io

import av
import numpy as np

from speech.audio.resample import Resampler
from speech.audio.write import pcm16

PCM_RATE = 24000  # clients of OpenAI's take it for granted
# container, codec, media type
FORMATS = {
    "mp3": ("mp3", "libmp3lame", "audio/mpeg"),
    "opus": ("ogg", "libopus", "audio/ogg"),
    "aac": ("adts", "aac", "audio/aac"),
    "flac": ("flac", "flac", "audio/flac"),
    "wav": ("wav", "pcm_s16le", "audio/wav"),
    "pcm": (None, None, "audio/pcm"),
}
OPTIONS = {"mp3": {"write_xing": "0", "id3v2_version": "0"}, "opus": {"page_duration": "200000"}}  # microseconds
AT_ONCE = ("flac", "wav")  # their headers tell the length


class _Pipe:
    """What a container writes, which cannot go back in it."""

    def __init__(self) -> None:
        self.buffer = bytearray()

    def write(self, data: bytes) -> int:
        self.buffer += data
        return len(data)


class Encoder:
    """`push` blocks [samples] in [-1, 1]; what it returns, one after the other, is the file."""

    def __init__(self, format: str, sample_rate: int):
        container, codec, self.media_type = FORMATS[format]
        self.container, self.sample_rate = None, sample_rate
        if codec is None:
            self.sample_rate = PCM_RATE
        else:
            rates = av.Codec(codec, "w").audio_rates
            if rates and sample_rate not in rates:
                self.sample_rate = min(rate for rate in rates if rate >= min(sample_rate, max(rates)))
            self.sink = io.BytesIO() if format in AT_ONCE else _Pipe()
            self.container = av.open(self.sink, "w", format=container, options=OPTIONS.get(format, {}))
            self.stream = self.container.add_stream(codec, self.sample_rate, layout="mono")
        self.resampler = Resampler(sample_rate, self.sample_rate)

    def push(self, block: np.ndarray, last: bool = False) -> bytes:
        pcm = pcm16(self.resampler.push(block, last))
        if self.container is None:
            return pcm
        if pcm:
            frame = av.AudioFrame.from_ndarray(np.frombuffer(pcm, np.int16)[None], format="s16", layout="mono")
            frame.sample_rate = self.sample_rate
            self.container.mux(self.stream.encode(frame))
        if last:
            self.container.mux(self.stream.encode(None))
            self.container.close()
        if isinstance(self.sink, io.BytesIO):
            return self.sink.getvalue() if last else b""
        out = bytes(self.sink.buffer)
        self.sink.buffer.clear()
        return out
