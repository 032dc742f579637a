"""Recordings and a live microphone to text."""

from dataclasses import replace
from typing import BinaryIO, cast

import gradio as gr
import numpy as np

from serve.page import ONE_AT_A_TIME, cached, told
from serve.pictures import transcript_picture
from serve.sandbox import Decoded, Sandbox
from speech.errors import AudioError, SpeechError
from speech.request import Request, parse_hotwords
from speech.text.prompt import FORMATS
from speech.transcriber import Transcriber
from speech.transcript import WRITERS, Transcript

LIVE_SECONDS = 20.0  # recognised anew with each second that comes in
BATCH = 4  # small, so that the progress of long recordings moves
MAX_BEAM = 16


def translates(model: Transcriber) -> bool:
    return "target_language" in FORMATS[model.generation.prompt_format] and len(model.tokenizer.languages) > 1


def transcribe(model: Transcriber, sound: BinaryIO, seconds: float, request: Request, progress: gr.Progress) -> tuple:
    """Text, picture, a file of each format, subtitles."""
    done = 0.0

    def moved(more: float) -> None:
        nonlocal done
        done += more
        progress((round(done), max(round(seconds), round(done))), unit="s of audio")

    _, found = next(model.transcribe_each([sound], request, BATCH, progress=moved))
    if isinstance(found, AudioError):
        raise found
    files = [cached(found.render(name).encode(), f"transcript.{name}") for name in WRITERS]
    sound.seek(0)
    return found.text, transcript_picture(found, sound), *files, _subtitles(found)


def _subtitles(found: Transcript) -> dict:
    """An update of the player."""
    return gr.update(subtitles=[{"text": s.text, "timestamp": [s.start, s.end]} for s in found.segments])


def hear_more(model: Transcriber, chunk: BinaryIO, heard: np.ndarray | None, request: Request) -> tuple:
    """The last seconds of the microphone with this chunk, and their text."""
    new = model.load(chunk)
    heard = (new if heard is None else np.concatenate([heard, new]))[-round(LIVE_SECONDS * model.sample_rate) :]
    found = model.transcribe(heard, sampling_rate=model.sample_rate, **vars(request))
    assert isinstance(found, Transcript)
    return heard, found.text


def add_transcribe_tab(model: Transcriber, sandbox: Sandbox, examples: list[str]) -> None:
    languages = model.tokenizer.languages
    with gr.Row():
        with gr.Column(min_width=300):
            audio = gr.Audio(
                sources=["upload", "microphone"],
                type="filepath",
                label="Recording",
                editable=False,
                buttons=["download"],
            )
            with gr.Accordion("Options", open=False):
                several = len(languages) > 1
                language = gr.Dropdown(languages, value=model.generation.language, label="Language", visible=several)
                task = gr.Radio(
                    ["transcribe", "translate"], value="transcribe", label="Task", visible=translates(model)
                )
                to = gr.Dropdown(languages, value="en", label="Translate into", visible=translates(model))
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

    def decoded(path: str | None) -> Decoded:
        if path is None:
            raise SpeechError("give a recording first: upload a file or use the microphone")
        with open(path, "rb") as file:
            return sandbox.decode(file, model.sample_rate)

    def request(language: str | None, task: str, to: str, beam: float, hotwords: str | None) -> Request:
        asked = Request(language, beam_size=int(beam), hotwords=parse_hotwords(hotwords or ""), word_timestamps=True)
        return replace(asked, task=task, target_language=to) if task == "translate" else asked

    def on_file(path, language, task, to, beam, hotwords, progress=gr.Progress()):  # noqa: B008 - how gradio takes it
        with told(), decoded(path) as sound:
            asked = request(language, task, to, beam, hotwords)
            return transcribe(model, cast(BinaryIO, sound), sound.seconds, asked, progress)

    def on_chunk(path, heard, *options):
        with told(), decoded(path) as sound:
            return hear_more(model, cast(BinaryIO, sound), heard, request(*options))

    options = [language, task, to, beam, hotwords]
    button.click(
        on_file, [audio, *options], [text, picture, *files, audio],
        api_name="transcribe", concurrency_id=ONE_AT_A_TIME, show_progress_on=[text],
    )  # fmt: skip
    live.start_recording(lambda: (None, ""), None, [gathered, partial], api_visibility="private")
    live.stream(
        on_chunk, [live, gathered, *options], [gathered, partial], stream_every=1.0, time_limit=300,
        api_visibility="private", concurrency_id=ONE_AT_A_TIME, show_progress="hidden",
    )  # fmt: skip
    audio.input(lambda: gr.update(subtitles=[]), None, audio, api_visibility="private")
