import io
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from sounds import libav, noise, peak_hz, snd, tone, video_only

from speech.audio import decode as module
from speech.audio.decode import AudioInfo, decode, probe
from speech.audio.resample import resample
from speech.errors import AudioError

EXACT, CODEC = 1e-3, 0.2  # seconds that a second of sound may be off: AAC adds frames at both ends
SNDFILE = [
    ("WAV", "PCM_U8", EXACT),
    ("WAV", "PCM_16", EXACT),
    ("WAV", "PCM_24", EXACT),
    ("WAV", "PCM_32", EXACT),
    ("WAV", "FLOAT", EXACT),
    ("WAV", "DOUBLE", EXACT),
    ("WAV", "ULAW", EXACT),
    ("WAVEX", "PCM_16", EXACT),
    ("RF64", "PCM_16", EXACT),
    ("AIFF", "PCM_16", EXACT),
    ("NIST", "PCM_16", EXACT),
    ("FLAC", "PCM_16", EXACT),
    ("OGG", "VORBIS", EXACT),
    ("OGG", "OPUS", EXACT),
    ("MP3", "MPEG_LAYER_III", EXACT),
]
LIBAV = [
    ("ipod", "aac", CODEC),
    ("mp4", "aac", CODEC),
    ("mp4", "alac", EXACT),
    ("mov", "pcm_s16le", EXACT),
    ("webm", "libopus", EXACT),
    ("matroska", "flac", EXACT),
    ("adts", "aac", CODEC),
]


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
@pytest.mark.parametrize("form, codec, tolerance", SNDFILE + LIBAV)
def test_every_container_keeps_length_level_and_pitch(form, codec, tolerance, rate):
    x = tone(rate)
    data = snd(x, rate, form, codec) if (form, codec, tolerance) in SNDFILE else libav(x, rate, form, codec)
    y = decode(data)
    assert y.dtype == np.float32 and y.ndim == 1
    assert abs(len(y) / 16000 - 1) <= tolerance
    assert abs(peak_hz(y, 16000) - 440) < 1
    assert np.abs(y[4000:12000]).max() == pytest.approx(0.5, abs=0.25)  # a codec overshoots
    info = probe(data)
    assert info.channels == 1 and abs(info.num_samples / info.sample_rate - 1) <= tolerance


@pytest.mark.parametrize("options", [{"movflags": "faststart"}, {}, {"movflags": "frag_keyframe+empty_moov"}])
def test_the_moov_box_may_stand_anywhere(options):
    data = libav(tone(16000), 16000, "mp4", "aac", options=options)
    assert (data.index(b"moov") > data.index(b"mdat")) == (not options)
    y = decode(data)
    assert len(y) >= 16000 and abs(peak_hz(y, 16000) - 440) < 1


@pytest.mark.parametrize("form, codec", [("mp4", "aac"), ("matroska", "flac")])
def test_metadata_in_an_old_encoding_does_no_harm(form, codec):
    data = libav(tone(16000), 16000, form, codec, metadata={"title": "XXXXCAFE"})
    broken = data.replace(b"XXXXCAFE", b"XXXXCAF\xe9")
    assert broken != data
    np.testing.assert_array_equal(decode(broken), decode(data))


@pytest.mark.parametrize("form, codec", [("WAV", "FLOAT"), ("FLAC", "PCM_16")])
def test_channels_are_averaged(form, codec):
    left, right = tone(16000, hz=300), noise(16000, 1.0)
    y = decode(snd(np.stack([left, right, 0 * left], 1), 16000, form, codec))
    np.testing.assert_allclose(y, (left + right) / 3, atol=1e-4)


def test_channels_are_averaged_in_matroska():
    left, right = tone(16000, hz=300), noise(16000, 1.0)
    data = libav(np.stack([left, right], 1), 16000, "matroska", "flac", "stereo")
    np.testing.assert_allclose(decode(data), (left + right) / 2, atol=1e-4)


@pytest.mark.parametrize("layout, channels", [("5.1", 6), ("7.1", 8)])
@pytest.mark.parametrize("form, codec", [("ipod", "aac"), ("matroska", "flac"), ("mov", "pcm_s16le")])
def test_surround_sound_is_read(form, codec, layout, channels):
    data = libav(tone(48000, 0.5, channels=channels), 48000, form, codec, layout)
    assert probe(data).channels == channels
    assert abs(peak_hz(decode(data), 16000) - 440) < 4


@pytest.mark.parametrize("rate", [16000, 44100, 11025])
@pytest.mark.parametrize("form, codec", [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", None)])
def test_block_by_block_is_the_whole(form, codec, rate, monkeypatch):
    data = snd(noise(rate, 2.0), rate, form, codec)
    whole = decode(data)
    monkeypatch.setattr(module, "BLOCK_SAMPLES", 1000)
    np.testing.assert_allclose(decode(data), whole, atol=1e-6)
    straight = sf.read(io.BytesIO(data), dtype="float32")[0]
    np.testing.assert_allclose(whole, resample(straight, rate, 16000), atol=1e-6)


@pytest.mark.parametrize("rate", [16000, 44100, 12347])
@pytest.mark.parametrize("start, duration", [(0.0, 0.5), (0.377, None), (0.377, 0.5011), (1.9, 9.0)])
@pytest.mark.parametrize("form", ["wav", "flac", "mkv"])
def test_a_cut_is_the_slice(form, start, duration, rate):
    x = noise(rate, 2.0)
    if form == "mkv":
        data = libav(x, rate, "matroska", "flac")
        x = decode(data, rate)
    else:
        data = snd(x, rate, form.upper(), "PCM_16")
        x = sf.read(io.BytesIO(data), dtype="float32")[0]
    begin = round(start * rate)
    end = None if duration is None else begin + round(duration * rate)
    y = decode(data, start=start, duration=duration)
    np.testing.assert_allclose(y, resample(x[begin:end], rate, 16000), atol=1e-6)
    if duration == 0.5:
        assert abs(len(y) - 8000) <= 1  # half a sample at an odd rate


@pytest.mark.parametrize("form, codec, rate", [("MP3", None, 44100), ("OGG", "VORBIS", 44100), ("OGG", "OPUS", 48000)])
def test_a_cut_of_a_lossy_file_is_the_slice(form, codec, rate):
    data = snd(noise(rate, 3.0), rate, form, codec)
    whole = decode(data, rate)
    cut = decode(data, rate, start=1.234, duration=1.0)
    begin = round(1.234 * rate)
    np.testing.assert_allclose(cut, whole[begin : begin + rate], atol=1e-5)


def test_a_cut_past_the_end_or_before_the_start_is_refused():
    data = snd(tone(16000), 16000, "WAV")
    with pytest.raises(AudioError, match="0 samples from 1.5 s on"):
        decode(data, start=1.5)
    for cut in ({"start": -1.0}, {"duration": -1.0}):
        with pytest.raises(AudioError, match="must not be negative"):
            decode(data, **cut)


@pytest.mark.parametrize("form", ["wav", "m4a"])
def test_path_bytes_file_and_pipe_are_the_same(form, tmp_path):
    data = snd(tone(16000), 16000, "WAV") if form == "wav" else libav(tone(16000), 16000, "ipod", "aac")
    path = tmp_path / "name without a suffix"
    path.write_bytes(data)
    wanted = decode(data)
    assert len(wanted) >= 16000
    np.testing.assert_array_equal(decode(path), wanted)
    np.testing.assert_array_equal(decode(str(path)), wanted)
    with path.open("rb") as file:
        file.seek(5)
        np.testing.assert_array_equal(decode(file), wanted)
        assert not file.closed
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb") as out, os.fdopen(read_end, "rb") as pipe:
        out.write(data[:40000])  # what a pipe holds without a reader
        out.close()
        np.testing.assert_array_equal(decode(pipe), decode(data[:40000]))


@pytest.mark.parametrize("size", [0, 1, 2**31 - 1, 2**32 - 1, 320])
def test_probe_counts_what_is_there(size):
    data = bytearray(snd(tone(16000, 0.1), 16000, "WAV"))
    data[40:44] = size.to_bytes(4, "little")
    if size < 2:
        with pytest.raises(AudioError, match="has 0 samples"):
            probe(bytes(data))
    else:
        assert probe(bytes(data)) == AudioInfo(16000, 1, 160 if size == 320 else 1600)


def test_probe_counts_a_flac_without_a_length():
    data = bytearray(snd(tone(16000), 16000, "FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    assert probe(bytes(data)) == AudioInfo(16000, 1, 16000)
    assert len(decode(bytes(data))) == 16000


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files in /proc")
def test_no_file_is_left_open(tmp_path):
    whole = libav(tone(16000), 16000, "ipod", "aac")
    fast = libav(tone(16000), 16000, "ipod", "aac", options={"movflags": "faststart"})
    contents = [whole, whole[:500], fast[:-500], snd(tone(16000), 16000, "WAV"), b"", b"text", video_only()]
    before, errors = len(os.listdir("/proc/self/fd")), []
    for i, data in enumerate(contents):
        path = tmp_path / str(i)
        path.write_bytes(data)
        for read in (decode, probe):
            try:
                read(path)
            except AudioError as error:
                errors.append(error)  # its traceback keeps what was not closed
    assert errors and len(os.listdir("/proc/self/fd")) == before


REFUSED = {  # file -> why
    "11 - incorrect metadata block length.flac": "cannot be decoded",  # libFLAC and FFmpeg find no frame in it either
}


def edge_files() -> list[Path]:
    corpora = os.environ.get("SPEECH_CORPORA")
    if not corpora:
        return []
    files = sorted(Path(corpora, "edge_audio").rglob("*"))
    return [f for f in files if f.is_file() and f.suffix and f.suffix != ".txt"]


def test_odd_and_faulty_files_play_or_are_refused_by_name():
    files = edge_files()
    if not files:
        pytest.skip("SPEECH_CORPORA is not set, or has no edge_audio")
    assert len(files) > 30
    for path in files:
        if path.name in REFUSED:
            with pytest.raises(AudioError, match=REFUSED[path.name]):
                decode(path)
        else:
            info = probe(path)
            assert abs(len(decode(path)) / 16000 - info.num_samples / info.sample_rate) < 1e-3, path.name
