"""Recordings and a live microphone to text."""

import asyncio
from dataclasses import replace

import gradio as gr
import numpy as np
import soundfile as sf

from serve.engine import Engine, Listener, Partial
from serve.page import cached, told
from serve.pictures import transcript_picture
from serve.sandbox import Decoded
from speech.errors import SpeechError
from speech.request import Request, parse_hotwords
from speech.text.prompt import FORMATS
from speech.transcriber import Transcriber
from speech.transcript import WRITERS, Transcript

LIVE_SECONDS = 20.0  # recognised anew with each second that comes in
MAX_BEAM = 16


def shown(found: Transcript, sound: Decoded) -> tuple:
    """Text, picture, a file of each format, subtitles for the player."""
    files = [cached(found.render(name).encode(), f"transcript.{name}") for name in WRITERS]
    sound.seek(0)
    subtitles = [{"text": s.text, "timestamp": [s.start, s.end]} for s in found.segments]
    return found.text, transcript_picture(found, sound), *files, gr.update(subtitles=subtitles)


def last_seconds(model: Transcriber, chunk: Decoded, heard: np.ndarray | None) -> tuple[np.ndarray, Decoded]:
    """Of the microphone with this chunk: [samples], and the same as a recording."""
    new = model.load(chunk)
    heard = (new if heard is None else np.concatenate([heard, new]))[-round(LIVE_SECONDS * model.sample_rate) :]
    sound = Decoded()
    sf.write(sound, heard, model.sample_rate, "FLOAT", format="WAV")
    sound.seek(0)
    sound.seconds = len(heard) / model.sample_rate
    return heard, sound


def add_transcribe_tab(listener: Listener, engine: Engine, examples: list[str]) -> None:
    model = listener.model
    languages = model.tokenizer.languages
    with gr.Row():
        with gr.Column(min_width=300):
            audio = gr.Audio(type="filepath", label="Recording", editable=False, buttons=["download"])
            with gr.Accordion("Options", open=False):
                several = len(languages) > 1
                both = several and "target_language" in FORMATS[model.generation.prompt_format]
                language = gr.Dropdown(languages, value=model.generation.language, label="Language", visible=several)
                task = gr.Radio(["transcribe", "translate"], value="transcribe", label="Task", visible=both)
                to = gr.Dropdown(languages, value="en", label="Translate into", visible=both)
                beam = gr.Slider(1, MAX_BEAM, model.generation.beam_size, step=1, label="Beam", info="1 is quickest")
                hotwords = gr.Textbox("", label="Hot words", info="such as: Nguyen, Kuala Lumpur:2")
            button = gr.Button("Transcribe", variant="primary")
            if examples:
                gr.Examples(examples, audio, cache_examples=False, label="Try one")
            with gr.Accordion("Live microphone", open=False):
                live = gr.Audio(sources=["microphone"], streaming=True, type="filepath", label="Speak")
                partial = gr.Textbox(label=f"Heard in the last {LIVE_SECONDS:.0f} s", lines=2)
                gathered = gr.State()
        with gr.Column(min_width=300):
            text = gr.Textbox(label="Text", lines=3, buttons=["copy"])
            picture = gr.HTML(label="Words")
            with gr.Row():
                files = [gr.DownloadButton(name, size="sm", min_width=40) for name in WRITERS]

    async def decoded(path: str | None) -> Decoded:
        if path is None:
            raise SpeechError("give a recording first: upload a file or use the microphone")
        with open(path, "rb") as file:
            return await engine.decode(file, model.sample_rate)

    def request(language: str | None, task: str, to: str, beam: float, hotwords: str | None) -> Request:
        asked = Request(language, beam_size=int(beam), hotwords=parse_hotwords(hotwords or ""), word_timestamps=True)
        return replace(asked, task=task, target_language=to) if task == "translate" else asked

    async def on_file(path, language, task, to, beam, hotwords, progress=gr.Progress()):  # noqa: B008 - gradio's way
        with told(), await decoded(path) as sound:
            with listener.ask(sound, request(language, task, to, beam, hotwords), partly=True) as job:
                async for part in job:
                    if isinstance(part, Partial):
                        done = round(part.seconds)
                        progress((done, max(round(sound.seconds), done)), unit="s of audio")
                        yield {text: part.text}
                    else:
                        yield await asyncio.to_thread(shown, part, sound)

    async def on_chunk(path, heard, *options):
        with told(), await decoded(path) as chunk:
            heard, sound = last_seconds(model, chunk, heard)
            with sound, listener.ask(sound, request(*options)) as job:
                return heard, (await anext(job)).text

    options = [language, task, to, beam, hotwords]
    out = [text, picture, *files, audio]
    button.click(on_file, [audio, *options], out, api_name="transcribe", show_progress_on=[text])
    live.start_recording(lambda: (None, ""), None, [gathered, partial], api_visibility="private")
    live.stream(
        on_chunk, [live, gathered, *options], [gathered, partial], stream_every=1.0, time_limit=300,
        api_visibility="private", show_progress="hidden",
    )  # fmt: skip
    audio.input(lambda: gr.update(subtitles=[]), None, audio, api_visibility="private")
