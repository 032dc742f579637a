"""An exported voice that speaks: onnxruntime and numpy, no torch."""

from pathlib import Path

import numpy as np

from serve.sessions import CPU, Session, pick_provider
from speech.errors import SpeechError
from speech.onnx_folder import ON_GPU, FastSpeechGraphs, graph_path, read_settings
from speech.reading import Reading
from speech.talker import Manner, Spoken, Talker
from speech.voice_parts import load_parts


class OnnxSynthesizer(Talker):
    """The voice of a folder that `speech export` wrote. device: cpu, cuda or auto; precision: one it holds."""

    def __init__(self, folder: str | Path, device: str = "auto", precision: str = "32", threads: int = 0):
        folder = Path(folder)
        self.settings = settings = read_settings(folder, "fastspeech", FastSpeechGraphs)
        super().__init__(load_parts(folder))
        self.sample_rate, self.controls = settings.sample_rate, settings.controls
        provider = pick_provider(device)
        if precision in ON_GPU and provider == CPU:
            raise SpeechError(f"precision {precision} wants a GPU: on the CPU choose 32 or int8")
        self.voice = Session(graph_path(folder, "voice", precision), provider, threads)

    def _say(self, reading: Reading, speaker: int, language: int, manner: Manner) -> Spoken:
        inputs = {
            "phonemes": np.array([reading.ids]),
            "lengths": np.array([len(reading.ids)]),
            "duration_scale": np.where([reading.silent], manner.pause_scale, 1.0).astype(np.float32),
            "given_durations": np.array([reading.given_frames(self.sample_rate, self.settings.hop)]),
            "speaker": np.array([speaker]),
            "language": np.array([language]),
        }
        for name in ("length_scale", "pitch_scale", "energy_scale"):
            inputs[name] = np.full((1, 1), getattr(manner, name), np.float32)
        known = {name: value for name, value in inputs.items() if name in self.voice.inputs}
        out = self.voice.run(known, ("waveforms", "durations", "mels"))
        waveform = (out["waveforms"][0] * np.float32(manner.volume)).clip(-1, 1)
        return Spoken(**vars(reading), frames=out["durations"][0], mel=out["mels"][0], waveform=waveform)
