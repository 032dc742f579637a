"""A voice folder to a folder of graphs that serve/ runs."""

import shutil
from collections.abc import Collection
from functools import partial
from pathlib import Path

from export.package import save_precisions, write_card
from export.step_voice import save_transformer_tts
from export.voice import save_fastspeech
from export.voice_parity import voice_parity
from speech.errors import SpeechError
from speech.models.fastspeech import FastSpeech
from speech.models.transformer_tts import TransformerTTS
from speech.models.vocos import Vocos
from speech.nn.tts_config import FastSpeechConfig
from speech.onnx_folder import ON_GPU, FastSpeechGraphs, TransformerTTSGraphs, held, write_settings
from speech.synthesizer import Synthesizer
from speech.talker import GENERATION
from speech.voice_folder import VOCODER, Voice, load_voice
from speech.voice_parts import save_parts


def export_voice(source: Path, out: Path, precisions: Collection[str]) -> None:
    """Graphs of each precision of 32, 16, bf16 and int8, what the runtime needs beside them, and a card."""
    voice, vocoder = open_voice(source)
    if voice.generation.window_heads:
        raise SpeechError(f"{source}: window_heads in {GENERATION} are not exported; make them []")
    save_one = save_fastspeech if isinstance(voice.model, FastSpeech) else save_transformer_tts
    kind, settings = settings_of(voice.model)
    save_precisions(partial(save_one, voice.model, vocoder), settings.made, out, precisions)
    write_settings(out, kind, settings)
    if kind == "transformer_tts":
        shutil.copyfile(source / GENERATION, out / GENERATION)
    save_parts(out, voice.parts)
    cells, theirs = {}, Synthesizer(source, "cpu")
    for precision in held(out, settings.made[0]):
        found = voice_parity(theirs, out, precision) if precision not in ON_GPU else None
        numbers = (found.error_db, found.speed) if found else (None, None)
        error, speed = ("-" if x is None else f"{x:.{digits}f}" for digits, x in enumerate(numbers))
        cells[precision] = {"error, dB": error, "speed": speed}
    write_card(
        out,
        settings.made,
        cells,
        "text-to-speech",
        f"voice\n\nPhonemes in, waveforms at {settings.sample_rate} Hz out",
        "Error: of the waveforms to torch's, where durations are the same. Speed: seconds of sound in a second of one "
        "core of the machine that exported; a CPU has no kernels for what shows none.\n\n"
        '```bash\nspeech synthesize -m THIS_FOLDER -f out.wav -- "text"\n```',
    )


def settings_of(model: FastSpeech | TransformerTTS) -> tuple[str, FastSpeechGraphs | TransformerTTSGraphs]:
    """With the name of the kind."""
    config, mel = model.config, model.config.mel
    if isinstance(config, FastSpeechConfig):
        return "fastspeech", FastSpeechGraphs(mel.sample_rate, mel.hop, config.controls)
    rate = float(model.frames_per_phoneme)  # type: ignore[arg-type]
    sizes = config.reduction, config.prenet_width, config.prenet_dropout
    return "transformer_tts", TransformerTTSGraphs(mel.sample_rate, mel.n_mels, rate, *sizes)


def open_voice(source: Path) -> tuple[Voice, Vocos]:
    """SpeechError where there is no vocoder: Griffin-Lim makes no graph."""
    voice = load_voice(source)
    if voice.vocoder is None:
        raise SpeechError(f"{source} has no vocoder and Griffin-Lim is not exported: put one into {source / VOCODER}")
    return voice, voice.vocoder
