"""Texts and phonemes to sound."""

import io
from collections.abc import Sequence
from functools import wraps
from typing import Any

import gradio as gr
import numpy as np
import soundfile as sf

from serve.limits import Limits
from serve.page import ONE_AT_A_TIME, cached, told
from serve.pictures import speech_picture
from speech.errors import SpeechError
from speech.reading import Reading
from speech.talker import LIMITS, Manner, Spoken, Talker
from speech.text.phonemes import BLANK, BOUNDARY

MAX_PICTURES = 8  # sentences
SCALES = {  # labels, and the part of the limits that still sounds well
    "length_scale": ("Slowness", 0.5, 2.0),
    "pitch_scale": ("Pitch", 0.5, 2.0),
    "energy_scale": ("Energy", 0.25, 4.0),
    "pause_scale": ("Pauses", 0.25, 4.0),
}
assert set(SCALES) == set(LIMITS)


def phonemes_of(reading: Reading) -> str:
    """A line to edit: phonemes divided by blanks, `|` between words, given pauses as `500ms`."""
    line = []
    for i, token in enumerate(["", *reading.phonemes, ""]):
        pause = [BOUNDARY, f"{1000 * reading.pauses[i]:.0f}ms", BOUNDARY] if i in reading.pauses else []
        line += pause or [BOUNDARY if token == BLANK else token]
    return " ".join(line).strip(f"{BOUNDARY} ")


def text_of(phonemes: str) -> str:
    """Edited lines as a text of literals: a word each, as long sentences are cut between words."""
    lines = phonemes.replace("[", " ").replace("]", " ").splitlines()
    return "\n".join(" ".join(f"[[{word.strip()}]]" for word in line.split(BOUNDARY) if word.strip()) for line in lines)


def synthesize(voice: Talker, text: str, manner: Manner) -> tuple[str, Sequence[Spoken], list[str]]:
    """Path of the sound, the sentences, and the characters that have no sound."""
    if len(text) > Limits.characters:
        raise SpeechError(f"{len(text)} characters; the demo speaks {Limits.characters} at once")
    said = list(voice.speak(text, manner))
    silence = np.zeros(round(manner.sentence_silence * voice.sample_rate), np.float32)
    pieces = [part for sentence in said for part in (silence, sentence.waveform)][1:]
    sf.write(wav := io.BytesIO(), np.concatenate(pieces), voice.sample_rate, format="WAV", subtype="PCM_16")
    dropped = dict.fromkeys(c for sentence in said for c in sentence.dropped)
    return cached(wav.getvalue(), "speech.wav"), said, list(dropped)


def add_synthesize_tab(voice: Talker, examples: list[str]) -> None:
    speakers, languages = voice.parts.speakers or [""], voice.parts.languages
    first = examples[0] if examples else ""
    with gr.Row():
        with gr.Column(min_width=300):
            text = gr.Textbox(first, label="Text", lines=3, max_length=Limits.characters, info="[[ ]] holds phonemes")
            speaker = gr.Dropdown(speakers, value=speakers[0], label="Voice", visible=len(speakers) > 1)
            language = gr.Dropdown(languages, value=languages[0], label="Language", visible=len(languages) > 1)
            sliders = [
                gr.Slider(low, high, 1.0, step=0.05, label=label, visible=name in voice.controls)
                for name, (label, low, high) in SCALES.items()
            ]
            button = gr.Button("Speak", variant="primary")
            if examples:
                gr.Examples([[example] for example in examples], text, cache_examples=False, label="Try one")
        with gr.Column(min_width=300):
            audio = gr.Audio(label="Speech", interactive=False, buttons=["download"])
            picture = gr.HTML(label="Mel spectrogram and durations")
            phonemes = gr.Textbox(label="Phonemes", lines=2, info="one sentence a line; change them and speak again")
            again = gr.Button("Speak these phonemes", size="sm")

    def speak(
        text: str | None,
        speaker: str | None,
        language: str,
        length_scale: float,
        pitch_scale: float,
        energy_scale: float,
        pause_scale: float,
    ) -> tuple[str, str, str]:
        scales = dict(zip(SCALES, (length_scale, pitch_scale, energy_scale, pause_scale), strict=True))
        with told():
            path, said, dropped = synthesize(
                voice, text or "", Manner(**scales, speaker=speaker or None, language=language)
            )
        if dropped:
            gr.Warning(f"These characters have no sound: {' '.join(dropped[:20])}")
        return path, "\n".join(map(phonemes_of, said)), speech_picture(said[:MAX_PICTURES])

    @wraps(speak)  # gradio names the parameters of the API after it
    def speak_phonemes(text: str | None, *how: Any) -> tuple[str, str, str]:
        return speak(text_of(text or ""), *how)

    how, out = [speaker, language, *sliders], [audio, phonemes, picture]
    for trigger, fn, source, name in (
        (button.click, speak, text, "synthesize"),
        (again.click, speak_phonemes, phonemes, "speak_phonemes"),
    ):
        trigger(fn, [source, *how], out, api_name=name, concurrency_id=ONE_AT_A_TIME, show_progress_on=[audio])
