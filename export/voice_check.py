"""Exported graphs of a voice against the voice in torch: what they hold, and how they speak."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx

from export.check import FUSED, Finding
from export.voice_package import open_voice, settings_of
from serve.synthesizer import OnnxSynthesizer
from speech.errors import SpeechError
from speech.models.fastspeech import FastSpeech
from speech.models.transformer_tts import TransformerTTS
from speech.onnx_folder import ON_GPU, graph_path, held, read_settings
from speech.reading import Reading
from speech.synthesizer import Synthesizer
from speech.talker import Manner, Spoken, Talker

PHONEMES = (1, 7, 24, 61)  # of the sentences
ERROR_DB = -60.0  # of the waveform in float32


def check_voice(source: Path, out: Path, precisions: Sequence[str]) -> Iterator[Finding]:
    """Findings of these precisions, or of all that are there."""
    voice, _ = open_voice(source)
    settings = settings_of(voice.model)
    kind = "fastspeech" if isinstance(voice.model, FastSpeech) else "transformer_tts"
    same = read_settings(out, kind, type(settings)) == settings
    yield "config.json: settings of the voice", "" if same else "they are others"
    theirs = Synthesizer(source, "cpu")
    for precision in precisions or held(out, settings.made[0]):
        for name, expected in zip(settings.made, _attentions(voice.model), strict=True):
            path = graph_path(out, name, precision)
            kinds = [node.op_type for node in onnx.load(path, load_external_data=False).graph.node]
            found = sum(kinds.count(one) for one in FUSED)
            fault = f"{found} fused attentions, not {expected}" if found != expected else ""
            yield f"{path.name}: attention fused", fault or ("one is written out" if "Softmax" in kinds else "")
        if precision not in ON_GPU:
            yield from _sound(theirs, OnnxSynthesizer(out, "cpu", precision), precision)


def _attentions(model: FastSpeech | TransformerTTS) -> tuple[int, ...]:
    config = model.config
    if isinstance(model, FastSpeech):
        return (config.encoder_layers + config.decoder_layers,)
    return config.encoder_layers, 2 * config.decoder_layers, 0


def _sound(theirs: Synthesizer, ours: Talker, precision: str) -> Iterator[Finding]:
    """Mel frames of phonemes at random, and the waveforms where they are as many; 8 bits may make others."""
    table = theirs.parts.tokenizer.table
    rng = np.random.default_rng(0)
    equal, noise, power = 0, 0.0, 1e-20
    for n in PHONEMES:
        ids = rng.integers(3, len(table), n).tolist()
        reading = Reading("", [table.symbols[i] for i in ids], [1, *ids, 2], {}, [])
        a, b = (_said(voice, reading) for voice in (theirs, ours))
        if a is None or b is None:
            equal += a is b
        elif len(a.mel) == len(b.mel):
            equal += a.frames is None or b.frames is None or np.array_equal(a.frames, b.frames)
            noise, power = noise + np.sum((a.waveform - b.waveform) ** 2), power + np.sum(a.waveform**2)
    error = 10 * np.log10(max(noise, 1e-20) / power)
    strict = precision != "int8"
    yield (
        f"{precision}: {equal} of {len(PHONEMES)} sentences have torch's frames",
        "they must all" if strict and equal < len(PHONEMES) else "",
    )
    yield (
        f"{precision}: waveforms {error:.0f} dB off torch's",
        f"more than {ERROR_DB:.0f} dB" if strict and error > ERROR_DB else "",
    )


def _said(voice: Talker, reading: Reading) -> Spoken | None:
    """None where it does not end."""
    try:
        return voice._say(reading, 0, 0, Manner())
    except SpeechError:
        return None
