"""Files made to harm: each gives sound or one line that names the file, and nothing else of the disk."""

import io
import re
import struct
import tracemalloc

import av
import numpy as np
import pytest
import soundfile as sf
from mutations import containers, mutant
from sounds import libav, noise, peak_hz, snd, tone, video_only

from speech.audio.decode import Limits, decode, probe
from speech.errors import AudioError

# What is raised in a decoder's callback cannot pass through C and would be printed.
pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
UNKNOWN = "not audio of a known kind"
BROKEN = "cannot be decoded"


def sound_or_error(source, name: str, **options) -> np.ndarray | str:
    """The decoded sound, or the text of the AudioError: one line that begins with the name."""
    try:
        x = decode(source, **options)
    except AudioError as error:
        text = str(error)
        assert text.startswith(f"{name}: ") and len(text) > len(name) + 8, text
        assert text.isprintable() and "Errno" not in text and "0x" not in text, text
        return text
    assert x.dtype == np.float32 and x.ndim == 1 and len(x) and np.isfinite(x).all()
    return x


def wav(x: np.ndarray | None = None, rate: int | None = None, channels: int | None = None, size: int | None = None):
    """A wav of 0.1 s whose header says what it is told to."""
    data = bytearray(snd(tone(16000, 0.1) if x is None else x, 16000, "WAV", "PCM_16"))
    if channels is not None:
        data[22:24] = struct.pack("<H", channels)
    if rate is not None:
        data[24:28] = struct.pack("<I", rate)
    if size is not None:
        data[40:44] = struct.pack("<I", size)
    return bytes(data)


def float_wav(value: float) -> bytes:
    x = tone(16000, 0.1)
    x[800] = value
    return snd(x, 16000, "WAV", "FLOAT")


def aiff() -> bytes:
    """libsndfile seeks to -1 in this one."""
    data = bytearray(snd(tone(16000, 0.1), 16000, "AIFF"))
    data[36:40] = b"\xff" * 4
    return bytes(data)


SOURCES = containers()
ID3 = b"ID3\x03\x00\x00\x00\x00\x00\x0a" + bytes(10)
MPG123 = re.compile("mpg123|^Note: |^Warning: Xing")  # what libmpg123 prints cannot be stopped
RANDOM = np.random.default_rng(7).bytes(5000)

# name -> bytes, what is to be said (None: sound or any one line; a number: seconds of sound)
TABLE: dict[str, tuple[bytes, str | float | None]] = {
    "empty": (b"", r"is empty \(0 bytes\)"),
    "one byte": (b"R", UNKNOWN),
    "ff": (b"\xff", UNKNOWN),
    "riff alone": (b"RIFF", UNKNOWN),
    "riff of another kind": (b"RIFF\x00\x00\x01\x00AVI LIST" + bytes(500), UNKNOWN),
    "riff wave alone": (b"RIFF\x24\x00\x00\x00WAVE", BROKEN),
    "riff wave of text": (b"RIFF\x24\x00\x00\x00WAVE" + b"no chunk here " * 50, BROKEN),
    "flac alone": (b"fLaC", BROKEN),
    "ogg alone": (b"OggS" + bytes(60), BROKEN),
    "aiff alone": (b"FORM\x00\x00\x00\x00AIFF", BROKEN),
    "sph alone": (b"NIST_1A\n   1024\n", BROKEN),
    "ftyp alone": (b"\x00\x00\x00\x18ftypM4A \x00\x00\x00\x00", BROKEN),
    "ebml alone": (b"\x1aE\xdf\xa3", BROKEN),
    "adts alone": (b"\xff\xf1\x50\x80", None),
    "mp3 sync alone": (b"\xff\xfb\x90\x00", BROKEN),
    "mp3 syncs": (b"\xff\xfb\x90\x00" * 1000, None),
    "id3 and garbage": (ID3 + b"garbage " * 500, BROKEN),
    "id3 of a wrong size": (ID3[:6] + b"\x7f" * 4 + SOURCES["mp3"], BROKEN),
    "id3 and wav": (ID3 + SOURCES["wav"], None),
    "id3 and mp3": (ID3 + SOURCES["mp3"], 0.5),
    "id3v1 after mp3": (SOURCES["mp3"] + b"TAG" + bytes(125), 0.5),
    "garbage after wav": (SOURCES["wav"] + RANDOM, 0.5),
    "garbage after flac": (SOURCES["flac"] + RANDOM, 0.5),
    "id3v1 after flac": (SOURCES["flac"] + b"TAG" + bytes(125), 0.5),
    "aiff whose sound stands before its start": (aiff(), None),
    "0 samples": (wav(np.zeros(0, np.float32)), "has 0 samples"),
    "0 samples of flac": (snd(np.zeros(0, np.float32), 16000, "FLAC"), "."),
    "nan": (float_wav(np.nan), "samples that are NaN or infinite"),
    "inf": (float_wav(np.inf), "samples that are NaN or infinite"),
    "minus inf": (float_wav(-np.inf), "samples that are NaN or infinite"),
    "1e30": (float_wav(1e30), r"has a sample of 1e\+30"),
    "32768": (float_wav(32768.0), r"has a sample of 32768, .* divide those at the scale of 16 bits by 32768"),
    "rate 0": (wav(rate=0), BROKEN),
    "rate 1": (wav(rate=1), r"sample rate 1 Hz is outside 4000 \.\.\. 384000 Hz"),
    "rate 3999": (wav(rate=3999), r"sample rate 3999 Hz is outside 4000"),
    "rate 4000": (wav(rate=4000), 0.4),
    "rate 384000": (wav(rate=384000), 1600 / 384000),
    "rate 384001": (wav(rate=384001), r"sample rate 384001 Hz is outside 4000"),
    "rate 2**31": (wav(rate=2**31), "."),
    "rate 2**32-1": (wav(rate=2**32 - 1), BROKEN),
    "0 channels": (wav(channels=0), BROKEN),
    "32 channels": (wav(tone(16000, 0.1, channels=32)), 0.1),
    "33 channels": (wav(tone(16000, 0.1, channels=33)), "33 channels, the limit is 32"),
    "65535 channels": (wav(channels=65535), BROKEN),
    "data size 0": (wav(size=0), "has 0 samples"),
    "data size 1": (wav(size=1), "has 0 samples"),
    "data size 100": (wav(size=100), 50 / 16000),
    "data size 2**31-1": (wav(size=2**31 - 1), 0.1),
    "data size 2**32-1": (wav(size=2**32 - 1), 0.1),
    "0 bits": (wav()[:34] + bytes(2) + wav()[36:], None),
    "block align 0": (wav()[:32] + bytes(2) + wav()[34:], None),
    "unknown wav codec": (wav()[:20] + b"\x99\x99" + wav()[22:], BROKEN),
    "flac of 2**36-1 samples": (
        SOURCES["flac"][:21] + bytes([SOURCES["flac"][21] | 15]) + b"\xff" * 4 + SOURCES["flac"][26:],
        r"longer than 7200 s \(Limits.max_seconds\): its header says 4294967 s",
    ),
    "text": (b"The quick brown fox.\n" * 50, UNKNOWN),
    "utf-16 text": (("fox " * 99).encode("utf-16"), BROKEN),
    "html": (b"<!doctype html><title>404</title>", UNKNOWN),
    "json": (b'{"error": "not found"}', UNKNOWN),
    "zeros": (bytes(5000), UNKNOWN),
    "ones": (b"\xff" * 5000, None),
    "random": (b"\x00" + RANDOM, UNKNOWN),
    "png": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + RANDOM, UNKNOWN),
    "jpeg": (b"\xff\xd8\xff\xe0\x00\x10JFIF" + RANDOM, UNKNOWN),
    "gif": (b"GIF89a" + RANDOM, UNKNOWN),
    "pdf": (b"%PDF-1.7\n" + RANDOM, UNKNOWN),
    "zip": (b"PK\x03\x04" + RANDOM, UNKNOWN),
    "gzip": (b"\x1f\x8b\x08" + RANDOM, UNKNOWN),
    "elf": (b"\x7fELF" + RANDOM, UNKNOWN),
    "video only": (video_only(), "has no audio stream"),
    "mp4 of an unknown codec": (
        SOURCES["m4a"].replace(b"mp4a", b"zzzz").replace(b"esds", b"free"),
        "its audio codec is not known",
    ),
    "wav named by an m4a head": (b"\x00\x00\x00\x18ftypM4A " + SOURCES["wav"], BROKEN),
}
for kind, data in SOURCES.items():
    for part in (0.02, 0.3, 0.6, 0.95):
        told = kind in ("flac", "m4a", "fast.m4a", "aac")  # whose decoder sees a cut; of others the rest is read
        TABLE[f"{kind} cut to {part:.0%}"] = data[: int(len(data) * part)], "." if told else None


@pytest.mark.parametrize("name", TABLE)
def test_a_bad_file_gives_sound_or_one_line(name, tmp_path, capfd):
    data, wanted = TABLE[name]
    path = tmp_path / "upload.wav"
    path.write_bytes(data)
    by_bytes = sound_or_error(data, "audio bytes")
    by_path = sound_or_error(path, str(path))
    if isinstance(wanted, str):
        assert isinstance(by_bytes, str) and re.search(wanted, by_bytes)
    if isinstance(wanted, float):
        assert isinstance(by_bytes, np.ndarray) and abs(len(by_bytes) / 16000 - wanted) < 2 / 16000
    if isinstance(by_bytes, str):
        assert by_path == by_bytes.replace("audio bytes", str(path), 1)
        try:
            probe(path)  # may count samples that decode refuses, such as NaN
        except AudioError as error:
            assert str(error).isprintable()
    else:
        np.testing.assert_array_equal(by_path, by_bytes)
    noise = capfd.readouterr().err  # libmpg123 alone cannot be silenced
    assert not [
        line for line in noise.splitlines() if "mpg123" not in line and "Xing" not in line and "Note" not in line
    ]


@pytest.mark.parametrize("name", ["missing.wav", "a\nb.wav", "a\0b.wav", "caf\udce9.wav", "x" * 5000, "\x1b[31mred"])
def test_a_path_that_cannot_be_opened_is_named_in_one_line(name, tmp_path):
    with pytest.raises(AudioError) as error:
        decode(str(tmp_path / name))
    assert str(error.value).isprintable() and str(tmp_path) in str(error.value)
    str(error.value).encode()


def test_a_folder_is_refused(tmp_path):
    assert "directory" in sound_or_error(tmp_path, str(tmp_path))


@pytest.mark.parametrize("kind", ["wav", "flac", "m4a"])
@pytest.mark.parametrize("good_reads", [0, 1, 2])
def test_a_disk_that_fails_is_an_error_and_not_the_end_of_the_sound(kind, good_reads, capfd):
    class Failing(io.BytesIO):
        reads = 0

        def read(self, size=-1):
            self.reads += 1
            if self.reads > good_reads:
                raise OSError(5, "Input/output error")
            return super().read(size)

    x = noise(16000, 5)
    data = {
        "wav": lambda: snd(x, 16000, "WAV"),
        "flac": lambda: snd(x, 16000, "FLAC"),
        "m4a": lambda: libav(x, 16000, "ipod", "alac"),
    }[kind]()
    assert "Input/output error" in sound_or_error(Failing(data), "audio stream")
    assert capfd.readouterr().err == ""


# Every form in which a text names another file; {} is the name of a file beside it.
PLAYLISTS = {
    "ffconcat": "ffconcat version 1.0\nfile {}\n",
    "ffconcat with quotes": "ffconcat version 1.0\nfile '{}'\ninpoint 0\noutpoint 1\n",
    "ffconcat with options": "ffconcat version 1.0\nfile {}\noption safe 0\n",
    "concat list": "file '{}'\n",
    "concat protocol": "concat:{}|{}",
    "subfile protocol": "subfile,,start,0,end,0,,:{}",
    "file protocol": "file:{}",
    "cache protocol": "cache:file:{}",
    "hls": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:1.0,\n{}\n#EXT-X-ENDLIST\n",
    "hls file url": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1.0,\nfile:{}\n#EXT-X-ENDLIST\n",
    "hls map": '#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXT-X-MAP:URI="{}"\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n',
    "hls key": '#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXT-X-KEY:METHOD=AES-128,URI="{}"\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n',
    "hls master": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{}\n",
    "m3u": "#EXTM3U\n#EXTINF:1,x\n{}\n",
    "pls": "[playlist]\nFile1={}\nNumberOfEntries=1\nVersion=2\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
    '<Representation mimeType="audio/wav"><BaseURL>{}</BaseURL></Representation></AdaptationSet></Period></MPD>',
    "asx": '<asx version="3.0"><entry><ref href="{}"/></entry></asx>',
    "xspf": '<playlist version="1"><trackList><track><location>{}</location></track></trackList></playlist>',
    "smil": '<smil><body><audio src="{}"/></body></smil>',
    "cue": 'FILE "{}" WAVE\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n',
    "imf": "<CompositionPlaylist><Id>urn:uuid:1</Id><File>{}</File></CompositionPlaylist>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns={}\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    "srt": "1\n00:00:00,000 --> 00:00:01,000\n{}\n",
    "vtt": "WEBVTT\n\n00:00.000 --> 00:01.000\n{}\n",
    "ass": "[Script Info]\n\n[Events]\nDialogue: 0,0:00:00.00,0:00:01.00,,,0,0,0,,{}\n",
    "vobsub": "# VobSub index file, v7\nid: en, index: 0\n# {}\n",
    "ffmetadata": ";FFMETADATA1\ntitle={}\n",
    "avisynth": 'WavSource("{}")\n',
    "symlink text": "{}",
}
DISGUISES = {
    "bare": b"",
    "id3": ID3,
    "riff": b"RIFF\xff\xff\xff\x7fWAVE",
    "ogg": b"OggS",
    "ftyp": b"\x00\x00\x00\x10ftypM4A \x00\x00\x00\x00",
    "ebml": b"\x1aE\xdf\xa3",
    "mp3": b"\xff\xfb",
    "adts": b"\xff\xf1",
}


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("form", PLAYLISTS)
def test_no_text_opens_another_file(form, disguise, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a name read from bytes would be looked for here
    sf.write("secret.wav", tone(16000), 16000)
    for target in ("secret.wav", str(tmp_path / "secret.wav")):
        data = DISGUISES[disguise] + PLAYLISTS[form].replace("{}", target).encode()
        assert isinstance(sound_or_error(data, "audio bytes"), str)
        for suffix in ("wav", "mp3", "m4a", "m3u8", "ffconcat"):
            path = tmp_path / f"upload.{suffix}"
            path.write_bytes(data)
            text = sound_or_error(path, str(path))
            assert isinstance(text, str)
            assert disguise != "bare" or UNKNOWN in text


def alias(name: str) -> bytes:
    """A data reference of QuickTime to a file beside it."""
    text = name.encode()
    record = bytes(10) + b"\x01v".ljust(28, b"\0") + bytes(12) + bytes([len(text)]) + text.ljust(79, b"\0")
    record += struct.pack(">HH16xHH", 1, 1, 2, len(text)) + text + bytes(len(text) % 2) + b"\xff\xff\0\0"
    return struct.pack(">I4sI", 12 + len(record), b"alis", 0) + record


def test_sound_that_lies_in_another_file_is_not_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sf.write("secret.wav", tone(16000, hz=1000.0), 16000)
    data = bytearray(libav(tone(16000), 16000, "mov", "pcm_s16le"))
    own, other = b"\0\0\0\x0curl \0\0\0\x01", alias("secret.wav")
    at = data.index(own)
    data[at : at + len(own)] = other
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):  # all that lie around it
        begin = data.rindex(box, 0, at) - 4
        size = int.from_bytes(data[begin : begin + 4]) + len(other) - len(own)
        data[begin : begin + 4] = size.to_bytes(4)
    path = tmp_path / "upload.mov"
    path.write_bytes(data)
    with av.open(str(path), options={"enable_drefs": "1"}) as obeying:
        frames = [frame.to_ndarray()[0] / 32768 for frame in obeying.decode(audio=0)]
    assert peak_hz(np.concatenate(frames), 16000) == pytest.approx(1000, abs=1)
    assert "has 0 samples" in sound_or_error(path, str(path))
    assert "has 0 samples" in sound_or_error(bytes(data), "audio bytes")


class Counting(io.BytesIO):
    taken = 0

    def read(self, size=-1):
        data = super().read(size)
        self.taken += len(data)
        return data


def endless(kind: str) -> bytes:
    """Two minutes that state no length."""
    if kind == "aac":
        return libav(tone(8000, 120), 8000, "adts", "aac")
    if kind == "webm":
        return libav(tone(8000, 120), 8000, "webm", "libopus", options={"live": "1"})
    data = bytearray(snd(noise(8000, 120), 8000, "FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    return bytes(data)


@pytest.mark.parametrize("kind", ["flac", "aac", "webm"])
def test_a_bomb_without_a_length_stops_inside_the_loop(kind):
    stream = Counting(endless(kind))
    tracemalloc.start()
    try:
        with pytest.raises(AudioError, match=r"^audio stream: longer than 10 s \(Limits\.max_seconds\)$"):
            decode(stream, limits=Limits(max_seconds=10))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert stream.taken < 0.2 * len(stream.getvalue())
    assert peak < 3e6  # ten seconds of float32 at 16 kHz have 0.64 MB, all of it 7.7 MB


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "opus", "m4a", "webm"])
def test_a_bomb_that_tells_its_length_is_not_decoded_at_all(kind):
    x = tone(8000, 30)
    data = {
        "wav": lambda: snd(x, 8000, "WAV"),
        "flac": lambda: snd(x, 8000, "FLAC"),
        "mp3": lambda: snd(x, 8000, "MP3"),
        "opus": lambda: snd(x, 8000, "OGG", "OPUS"),
        "m4a": lambda: libav(x, 8000, "ipod", "aac"),
        "webm": lambda: libav(x, 8000, "webm", "libopus"),
    }[kind]()
    with pytest.raises(AudioError, match=r"longer than 20 s \(Limits\.max_seconds\): its header says 3\d s$"):
        decode(data, limits=Limits(max_seconds=20))
    assert len(decode(data, limits=Limits(max_seconds=20), start=15.0)) >= 14.5 * 16000
    assert len(decode(data, limits=Limits(max_seconds=20), duration=19.0)) == 19 * 16000
    assert len(decode(data, limits=Limits(max_seconds=35))) >= 29.5 * 16000


def test_the_limit_is_counted_after_resampling():
    data = bytearray(snd(tone(16000, 10), 16000, "WAV"))
    data[24:28] = struct.pack("<I", 4000)
    with pytest.raises(AudioError, match="longer than 30 s"):
        decode(bytes(data), limits=Limits(max_seconds=30))
    assert len(decode(bytes(data), limits=Limits(max_seconds=40))) == 40 * 16000


@pytest.mark.parametrize("kind", SOURCES)
def test_mutations_give_sound_or_one_line(kind):
    for number in range(40):
        sound_or_error(mutant(kind, number), "audio bytes", limits=Limits(max_seconds=100))
