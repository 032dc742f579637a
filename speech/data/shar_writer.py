"""A manifest as a Lhotse Shar folder, which `speech.data.shar` and lhotse read."""

import io
import json
import os
import shutil
import tarfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile as sf
from lhotse import MonoCut, Recording
from lhotse.audio import AudioSource
from lhotse.cut import Cut
from lhotse.shar.utils import to_shar_placeholder
from lhotse.utils import fastcopy
from tqdm import tqdm

from speech.audio.decode import decode, sniff
from speech.data.manifests import load_audio, save_manifest
from speech.data.shar import find_audio
from speech.data.table import make_table
from speech.errors import DataError, SpeechError, one_line

# subtype of what is encoded here, and the error it may have: rounding to 24 bits; FLAC clips beyond full scale
CODINGS = (("flac", "PCM_16", 0.0), ("flac", "PCM_24", 2.0**-23), ("wav", "FLOAT", 0.0))


@dataclass(frozen=True)
class Written:
    cuts: int
    shards: int
    encoded: int  # cuts that are not stored as the bytes of their files


class _Packed(NamedTuple):
    cut: MonoCut  # its recording says that the audio is in the tar
    audio: bytes
    ending: str
    encoded: bool


def write_shar(manifest: str | Path, out: str | Path, shard_cuts: int = 1000) -> Written:
    """The cuts of a manifest as a Shar folder, whole or not at all. DataError names a cut that cannot be read.

    A file that is one cut is stored as it is. A part of one, a mixture or a container that libsndfile does not read is
    decoded, mono as `load_audio` gives it, and stored as FLAC.
    """
    out = Path(os.path.abspath(out))
    if shard_cuts < 1:
        raise SpeechError(f"shard_cuts {shard_cuts} must be at least 1")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SpeechError(f"{out}: exists and is not an empty folder; give another")
    table = make_table(manifest, lambda cut: ())
    aside = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    shards, encoded = -(-len(table) // shard_cuts), 0
    rows = iter(tqdm(range(len(table)), out.name, unit="cut", disable=None))
    try:
        aside.mkdir(parents=True)
        for shard in range(shards):
            cuts, path = [], aside / f"recording.{shard:06d}.tar"
            with tarfile.open(path, "w") as tar:
                for row in islice(rows, shard_cuts):
                    packed = _pack(table.cut(row), manifest)
                    assert packed.cut.recording is not None
                    described = json.dumps(packed.cut.recording.to_dict()).encode()
                    for ending, data in ((packed.ending, packed.audio), ("json", described)):
                        member = tarfile.TarInfo(f"{packed.cut.id}.{ending}")
                        member.size = len(data)
                        tar.addfile(member, io.BytesIO(data))
                    cuts.append(packed.cut)
                    encoded += packed.encoded
            find_audio(path, [cut.id for cut in cuts])  # finds the id that no name in a tar can hold
            save_manifest(cuts, aside / f"cuts.{shard:06d}.jsonl.gz")
        os.replace(aside, out)
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return Written(len(table), shards, encoded)


def _pack(cut: Cut, manifest: str | Path) -> _Packed:
    rate = cut.sampling_rate
    try:
        x = load_audio(cut, rate)  # also where it is not used: broken audio shows here, not in training
        if whole := _whole_file(cut):
            return whole
        data, ending = _encode(x, rate)
    except (SpeechError, OSError, sf.SoundFileError) as error:
        raise DataError(f"{manifest}, cut {cut.id!r}: {one_line(error)}") from None
    if not isinstance(cut, MonoCut):
        said = [fastcopy(s, recording_id=cut.id, channel=0) for s in cut.supervisions]
        cut = MonoCut(cut.id, 0.0, cut.duration, 0, supervisions=said)
    name, source = cut.recording.id if cut.recording else cut.id, AudioSource("shar", [cut.channel], "")
    recording = Recording(name, [source], rate, len(x), cut.duration, [cut.channel])
    return _Packed(fastcopy(cut, start=0.0, recording=recording), data, ending, True)


def _whole_file(cut: Cut) -> _Packed | None:
    """A cut that is a file, if libsndfile reads it, as lhotse does too; None for any other cut."""
    if not isinstance(cut, MonoCut) or cut.recording is None:
        return None
    if cut.start or abs(cut.duration - cut.recording.duration) * cut.sampling_rate > 0.5:
        return None
    source = cut.recording.sources[0].source
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    if sniff(data[:16]) != "sndfile":
        return None
    ending = sf.info(io.BytesIO(data)).format.lower()
    return _Packed(fastcopy(cut, recording=to_shar_placeholder(cut.recording)), data, ending, False)


def _encode(x: np.ndarray, sample_rate: int) -> tuple[bytes, str]:
    """Audio [samples] as a file, in the smallest coding that gives it back, and the ending of its name."""
    for ending, subtype, allowed in CODINGS:
        file = io.BytesIO()
        sf.write(file, x, sample_rate, subtype, format=ending)
        if np.abs(decode(file.getvalue(), sample_rate) - x).max() <= allowed:
            return file.getvalue(), ending
    raise DataError(f"{sample_rate} Hz cannot be stored as FLAC or WAV")
