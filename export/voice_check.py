"""Exported graphs of a voice against the voice in torch: what they hold, and how they speak."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx

from export.check import Finding, unfused
from export.kernels import cuda_kernels
from export.voice_package import open_voice, settings_of
from export.voice_parity import PHONEMES, voice_parity
from speech.models.fastspeech import FastSpeech
from speech.models.transformer_tts import TransformerTTS
from speech.onnx_folder import ON_GPU, graph_path, held, read_settings
from speech.synthesizer import Synthesizer

ERROR_DB = -60.0  # of the waveform in float32


def check_voice(source: Path, out: Path, precisions: Sequence[str], tools: Path | None = None) -> Iterator[Finding]:
    """Findings of these precisions, or of all that are there; with `tools` those of the CUDA kernels too."""
    model = open_voice(source)[0].model
    kind, settings = settings_of(model)
    same = read_settings(out, kind, type(settings)) == settings
    yield "config.json: settings of the voice", "" if same else "they are others"
    theirs = Synthesizer(source, "cpu")
    for precision in precisions or held(out, settings.made[0]):
        for name, attentions in zip(settings.made, _attentions(model), strict=True):
            path = graph_path(out, name, precision)
            found = unfused(onnx.load(path, load_external_data=False).graph, attentions)
            yield f"{path.name}: attention fused", "; ".join(found)
        if precision not in ON_GPU:
            found, strict = voice_parity(theirs, out, precision), precision != "int8"  # 8 bits may speak otherwise
            fault = "they must all" if strict and found.same < len(PHONEMES) else ""
            yield f"{precision}: {found.same} of {len(PHONEMES)} sentences have torch's frames", fault
            if found.error_db is not None:
                fault = f"more than {ERROR_DB:.0f} dB" if strict and found.error_db > ERROR_DB else ""
                yield f"{precision}: waveforms {found.error_db:.0f} dB off torch's", fault
    if tools is not None:
        yield from cuda_kernels(out, settings, tools)


def _attentions(model: FastSpeech | TransformerTTS) -> tuple[int, ...]:
    config = model.config
    if isinstance(model, FastSpeech):
        return (config.encoder_layers + config.decoder_layers,)
    return config.encoder_layers, 2 * config.decoder_layers, 0
