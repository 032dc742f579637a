"""Waveforms to files."""

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import soundfile as sf

from speech.errors import AudioError

FORMATS = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS"), ".opus": ("OGG", "OPUS"),
           ".mp3": ("MP3", "MPEG_LAYER_III")}  # fmt: skip


def write_audio(path: str | Path, waveform: np.ndarray, sample_rate: int) -> None:
    """[samples] in [-1, 1] in the format of the suffix. Written aside, then renamed: whole or not there."""
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise AudioError(f"{path}: suffix '{path.suffix}' is none of {', '.join(FORMATS)}")
    format, subtype = FORMATS[path.suffix.lower()]
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        sf.write(aside, waveform, sample_rate, subtype=subtype, format=format)
        os.replace(aside, path)
    except (OSError, sf.LibsndfileError) as error:
        raise AudioError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})") from None
    finally:
        with suppress(OSError):
            aside.unlink()


def pcm16(waveform: np.ndarray) -> bytes:
    """[samples] in [-1, 1] to little-endian 16-bit samples."""
    return (np.clip(waveform, -1, 1) * 32767).round().astype("<i2").tobytes()
