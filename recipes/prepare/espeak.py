"""Synthetic spoken digits from espeak-ng, for machines that can reach no real corpus. Needs the extra `espeak`."""

import ctypes
import random
from pathlib import Path

import numpy as np
import soundfile

from recipes.prepare.fsdd import WORDS, write_manifest
from speech.audio.resample import resample
from speech.errors import SpeechError
from speech.text.espeak import CHARS_UTF8, open_espeak

SAMPLE_RATE = 8000
TAKES = 50
SEED = 1
SPEAKERS = ("en-us", "en-us+f3", "en+m3", "en+f2", "en-gb-scotland+m7", "en-gb-x-rp+f4")
PEAK = 0.5
AUDIBLE = 0.02  # of the peak; what is below it at both ends is cut off, as the real recordings are trimmed

# espeak-ng's speak_lib.h
RATE, PITCH, RANGE = 1, 3, 4
POS_CHARACTER = 1
SAMPLES_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def synthesize_digits(folder: Path) -> Path:
    """A corpus folder like the real one: every digit TAKES times by each of SPEAKERS, at 8 kHz, same bytes each time.

    A speaker is a voice with its own middle pitch and rate; its takes differ in pitch, range and rate.
    """
    espeak, sample_rate = open_espeak()
    espeak.espeak_ng_SetRandSeed(ctypes.c_long(SEED))  # some voices have breath noise, seeded by the clock
    blocks: list[np.ndarray] = []

    @SAMPLES_CALLBACK
    def collect(samples, count: int, _events) -> int:
        if samples and count > 0:
            blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def say(text: str, voice: str, words_per_minute: int, pitch: int, pitch_range: int) -> np.ndarray:
        """[samples]; pitch and its range 0-100, 50 is the voice's own."""
        blocks.clear()
        failed = espeak.espeak_SetVoiceByName(voice.encode())
        for parameter, value in ((RATE, words_per_minute), (PITCH, pitch), (RANGE, pitch_range)):
            espeak.espeak_SetParameter(parameter, value, 0)
        data = text.encode()
        size = ctypes.c_size_t(len(data) + 1)
        if failed or espeak.espeak_Synth(data, size, 0, POS_CHARACTER, 0, CHARS_UTF8, None, None):
            raise SpeechError(f"espeak-ng cannot say '{text}' in the voice '{voice}'")
        return np.concatenate(blocks).astype(np.float32)

    espeak.espeak_SetSynthCallback(collect)
    audio = folder / "audio"
    audio.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[str, str, int]] = []
    for voice in SPEAKERS:
        speaker = voice.replace("+", "-")
        rng = random.Random(f"{SEED} {voice}")
        rate, pitch = rng.randint(130, 190), rng.randint(35, 65)
        for digit, word in enumerate(WORDS):
            for take in range(TAKES):
                change = rng.randint(-30, 30), rng.randint(-15, 15)
                speech = say(word, voice, rate + change[0], pitch + change[1], rng.randint(20, 80))
                heard = np.flatnonzero(np.abs(speech) > AUDIBLE * np.abs(speech).max())
                speech = resample(speech[heard[0] : heard[-1] + 1], sample_rate, SAMPLE_RATE)
                file = f"{digit}_{speaker}_{take}.flac"
                soundfile.write(audio / file, speech * (PEAK / np.abs(speech).max()), SAMPLE_RATE, subtype="PCM_16")
                rows.append((file, speaker, take))
    write_manifest(folder, rows)
    return folder
