"""A voice folder to a folder of graphs that serve/ runs."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from export.package import DTYPES
from export.quantize import quantize
from export.step_voice import save_transformer_tts
from export.voice import save_fastspeech
from speech.errors import SpeechError
from speech.models.fastspeech import FastSpeech
from speech.models.transformer_tts import TransformerTTS
from speech.models.vocos import Vocos
from speech.nn.tts_config import FastSpeechConfig
from speech.onnx_folder import PRECISIONS, FastSpeechGraphs, TransformerTTSGraphs, graph_path, held, write_settings
from speech.talker import GENERATION
from speech.voice_folder import VOCODER, Voice, load_voice
from speech.voice_parts import save_parts


def export_voice(source: Path, out: Path, precisions: list[str]) -> None:
    """Graphs of each precision of 32, 16, bf16 and int8, what the runtime needs beside them, and a card."""
    voice, vocoder = open_voice(source)
    model = voice.model
    if voice.generation.window_heads:
        raise SpeechError(f"{source}: window_heads in {GENERATION} are not exported; make them []")

    def save(precision: str, folder: Path, suffix: str) -> None:
        if isinstance(model, FastSpeech):
            save_fastspeech(model, vocoder, DTYPES[precision], folder, suffix)
        else:
            save_transformer_tts(model, vocoder, DTYPES[precision], folder, suffix)

    out.mkdir(parents=True, exist_ok=True)
    for precision in precisions:
        if precision == "int8":
            with TemporaryDirectory() as folder:
                save("32", Path(folder), "")
                for path in Path(folder).glob("*.onnx"):
                    quantize(path, out / f"{path.stem}{PRECISIONS[precision]}.onnx")
        else:
            save(precision, out, PRECISIONS[precision])
    settings = settings_of(model)
    write_settings(out, "fastspeech" if isinstance(model, FastSpeech) else "transformer_tts", settings)
    if not isinstance(model, FastSpeech):
        shutil.copyfile(source / GENERATION, out / GENERATION)
    save_parts(out, voice.parts)
    (out / "README.md").write_text(_card(out, settings))


def settings_of(model: FastSpeech | TransformerTTS) -> FastSpeechGraphs | TransformerTTSGraphs:
    config, mel = model.config, model.config.mel
    if isinstance(config, FastSpeechConfig):
        return FastSpeechGraphs(mel.sample_rate, mel.hop, config.controls)
    rate = float(model.frames_per_phoneme)  # type: ignore[arg-type]
    sizes = config.reduction, config.prenet_width, config.prenet_dropout
    return TransformerTTSGraphs(mel.sample_rate, mel.n_mels, rate, *sizes)


def open_voice(source: Path) -> tuple[Voice, Vocos]:
    """SpeechError where there is no vocoder: Griffin-Lim makes no graph."""
    voice = load_voice(source)
    if voice.vocoder is None:
        raise SpeechError(f"{source} has no vocoder and Griffin-Lim is not exported: put one into {source / VOCODER}")
    return voice, voice.vocoder


def _card(out: Path, settings: FastSpeechGraphs | TransformerTTSGraphs) -> str:
    rows = ["| precision | MB |", "|---" * 2 + "|"]
    for precision in held(out, settings.made[0]):
        paths = [graph_path(out, name, precision) for name in settings.made]
        size = sum(file.stat().st_size for path in paths for file in path.parent.glob(f"{path.name}*")) / 1e6
        rows.append(f"| {precision} | {size:.1f} |")
    return (
        "---\nlibrary_name: parlance-speech\npipeline_tag: text-to-speech\n---\n\n# ONNX graphs of a voice\n\n"
        f"Phonemes in, waveforms at {settings.sample_rate} Hz out, every attention one fused node.\n\n"
        + "\n".join(rows)
        + "\n\n```python\nfrom serve.synthesizer import OnnxSynthesizer\n\n"
        'waveform, without_sound = OnnxSynthesizer("THIS_FOLDER").waveform("text")\n```\n'
    )
