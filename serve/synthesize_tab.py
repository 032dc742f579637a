"""Texts and phonemes to sound."""

import asyncio
import io
from functools import wraps

import gradio as gr
import numpy as np
import soundfile as sf

from serve.engine import Speaker
from serve.page import cached, told
from serve.pictures import speech_picture
from speech.reading import Reading
from speech.talker import LIMITS, Manner
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


def add_synthesize_tab(worker: Speaker, examples: list[str]) -> None:
    voice, most, first = worker.model, worker.limits.characters, next(iter(examples), "")
    speakers, languages = voice.parts.speakers or [""], voice.parts.languages
    with gr.Row():
        with gr.Column(min_width=300):
            text = gr.Textbox(first, label="Text", lines=3, max_length=most, info="[[ ]] holds phonemes")
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

    async def speak(text, speaker, language, length_scale, pitch_scale, energy_scale, pause_scale):
        scales = dict(zip(SCALES, (length_scale, pitch_scale, energy_scale, pause_scale), strict=True))
        with told():
            manner = Manner(**scales, speaker=speaker or None, language=language)
            with worker.ask(text or "", manner) as job:
                said = [sentence async for sentence in job]
        if dropped := dict.fromkeys(c for sentence in said for c in sentence.dropped):
            gr.Warning(f"These characters have no sound: {' '.join([*dropped][:20])}")
        sound = np.concatenate([sentence.waveform for sentence in said])
        sf.write(wav := io.BytesIO(), sound, voice.sample_rate, format="WAV", subtype="PCM_16")
        picture = await asyncio.to_thread(speech_picture, said[:MAX_PICTURES])
        return cached(wav.getvalue(), "speech.wav"), "\n".join(map(phonemes_of, said)), picture

    @wraps(speak)  # gradio names the parameters of the API after it
    async def speak_phonemes(text, *how):
        return await speak(text_of(text or ""), *how)

    how, out = [speaker, language, *sliders], [audio, phonemes, picture]
    for trigger, fn, source, name in (
        (button.click, speak, text, "synthesize"),
        (again.click, speak_phonemes, phonemes, "speak_phonemes"),
    ):
        trigger(fn, [source, *how], out, api_name=name, show_progress_on=[audio])
