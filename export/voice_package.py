"""A voice folder to a folder of graphs that serve/ runs."""

from pathlib import Path
from tempfile import TemporaryDirectory

from export.package import DTYPES
from export.quantize import quantize
from export.voice import save_fastspeech
from speech.errors import SpeechError
from speech.models.fastspeech import FastSpeech
from speech.models.vocos import Vocos
from speech.onnx_folder import PRECISIONS, FastSpeechGraphs, graph_path, held, write_settings
from speech.voice_folder import VOCODER, Voice, load_voice
from speech.voice_parts import save_parts


def export_voice(source: Path, out: Path, precisions: list[str]) -> None:
    """Graphs of each precision of 32, 16, bf16 and int8, what the runtime needs beside them, and a card."""
    voice, vocoder = open_voice(source)
    if not isinstance(voice.model, FastSpeech):
        raise SpeechError(f"{source}: only voices of FastSpeech are exported")
    out.mkdir(parents=True, exist_ok=True)
    for precision in precisions:
        if precision == "int8":
            with TemporaryDirectory() as folder:
                save_fastspeech(voice.model, vocoder, DTYPES["32"], Path(folder), "")
                for path in Path(folder).glob("*.onnx"):
                    quantize(path, out / f"{path.stem}{PRECISIONS[precision]}.onnx")
        else:
            save_fastspeech(voice.model, vocoder, DTYPES[precision], out, PRECISIONS[precision])
    mel = voice.model.config.mel
    settings = FastSpeechGraphs(mel.sample_rate, mel.hop, voice.model.config.controls)
    write_settings(out, "fastspeech", settings)
    save_parts(out, voice.parts)
    (out / "README.md").write_text(_card(out, settings))


def open_voice(source: Path) -> tuple[Voice, Vocos]:
    """SpeechError where there is no vocoder: Griffin-Lim makes no graph."""
    voice = load_voice(source)
    if voice.vocoder is None:
        raise SpeechError(f"{source} has no vocoder and Griffin-Lim is not exported: put one into {source / VOCODER}")
    return voice, voice.vocoder


def _card(out: Path, settings: FastSpeechGraphs) -> str:
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
