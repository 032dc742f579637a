"""Recordings that a test makes, and manifests of them."""

from pathlib import Path

import numpy as np
import soundfile as sf
from lhotse import MonoCut, Recording, SupervisionSegment


def cut_of(folder: Path, name: str, x: np.ndarray, sample_rate: int, text: str | None = "", **said) -> MonoCut:
    """`<folder>/<name>.wav` of [samples], and a cut of all of it with one supervision; a text of None has none."""
    sf.write(folder / f"{name}.wav", x.astype(np.float32), sample_rate, subtype="FLOAT")
    recording = Recording.from_file(folder / f"{name}.wav", recording_id=name)
    supervision = SupervisionSegment(name, name, 0.0, recording.duration, text=text, **said)
    found = [] if text is None else [supervision]
    return MonoCut(name, 0.0, recording.duration, 0, recording=recording, supervisions=found)
