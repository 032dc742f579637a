"""An exported voice beside the voice in torch: the same sentences, and the time that they take."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serve.synthesizer import OnnxSynthesizer
from speech.errors import SpeechError
from speech.reading import Reading
from speech.synthesizer import Synthesizer
from speech.talker import Manner, Spoken, Talker

PHONEMES = (1, 7, 24, 61)  # of the sentences, at random


@dataclass(frozen=True)
class VoiceParity:
    same: int
    """sentences whose phonemes last as long, of all; or have no end with both"""
    error_db: float | None
    """of the waveforms whose mels are as long; None where there are none"""
    speed: float | None
    """seconds of sound that a second of one CPU makes; None where nothing ended"""


def voice_parity(theirs: Synthesizer, out: Path, precision: str) -> VoiceParity:
    ours, table, rng = OnnxSynthesizer(out, "cpu", precision, 1), theirs.parts.tokenizer.table, np.random.default_rng(0)
    same, noise, power, seconds, taken = 0, 0.0, 0.0, 0.0, 0.0
    for n in PHONEMES:
        ids = rng.integers(3, len(table), n).tolist()
        reading = Reading("", [table.symbols[i] for i in ids], [1, *ids, 2], {}, [])
        truth, found = _said(theirs, reading), _said(ours, reading)
        if truth is None or found is None:
            same += truth is found
            continue
        if len(truth.mel) == len(found.mel):
            same += truth.frames is None or found.frames is None or np.array_equal(truth.frames, found.frames)
            noise, power = noise + np.sum((truth.waveform - found.waveform) ** 2), power + np.sum(truth.waveform**2)
        begin = time.process_time()
        _said(ours, reading)
        taken, seconds = taken + time.process_time() - begin, seconds + len(found.waveform) / ours.sample_rate
    error = 10 * np.log10(max(noise, 1e-20) / power) if power else None
    return VoiceParity(same, error, seconds / taken if taken else None)


def _said(voice: Talker, reading: Reading) -> Spoken | None:
    """None where it does not end."""
    try:
        return voice._say(reading, 0, 0, Manner())
    except SpeechError:
        return None
