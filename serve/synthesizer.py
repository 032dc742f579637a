"""An exported voice that speaks: onnxruntime and numpy, no torch."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from serve.sessions import CPU, Bound, Session, pick_provider
from speech.errors import SpeechError
from speech.onnx_folder import ON_GPU, FastSpeechGraphs, TransformerTTSGraphs, graph_path, read_json, read_settings
from speech.prenet_keep import prenet_keep
from speech.reading import Reading
from speech.talker import GENERATION, Manner, Spoken, Talker, without_end
from speech.voice_parts import load_parts

MAX_TIMES = 200.0  # a folder of unknown origin must not ask for hours
Sound = tuple[np.ndarray, np.ndarray, np.ndarray | None]  # [samples], mel [T, F], frames of each id [N] if known


class OnePass:
    """FastSpeech."""

    def __init__(self, folder: Path, graph: Callable[[str], Session]):
        self.settings = read_settings(folder, "fastspeech", FastSpeechGraphs)
        self.controls, self.voice = self.settings.controls, graph("voice")

    def say(self, reading: Reading, speaker: int, language: int, manner: Manner) -> Sound:
        inputs = {
            "phonemes": np.array([reading.ids]),
            "lengths": np.array([len(reading.ids)]),
            "duration_scale": np.where([reading.silent], manner.pause_scale, 1.0).astype(np.float32),
            "given_durations": np.array([reading.given_frames(self.settings.sample_rate, self.settings.hop)]),
            "speaker": np.array([speaker]),
            "language": np.array([language]),
        }
        for name in ("length_scale", "pitch_scale", "energy_scale"):
            inputs[name] = np.full((1, 1), getattr(manner, name), np.float32)
        known = {name: value for name, value in inputs.items() if name in self.voice.inputs}
        found = self.voice.run(known, ("waveforms", "durations", "mels"))
        return found["waveforms"][0], found["mels"][0], found["durations"][0]


class FrameByFrame:
    """Transformer TTS."""

    controls = ()

    def __init__(self, folder: Path, graph: Callable[[str], Session]):
        self.settings = read_settings(folder, "transformer_tts", TransformerTTSGraphs)
        self.encoder, self.decoder, self.vocoder = map(graph, self.settings.made)
        values = read_json(folder / GENERATION)
        try:
            self.threshold, self.times = float(values["stop_threshold"]), float(values["max_times_expected"])
            self.seed = None if values["seed"] is None else int(values["seed"])
        except (KeyError, TypeError, ValueError) as error:
            raise SpeechError(f"{folder}: {GENERATION}: {error}") from None
        if not 0 < self.times <= MAX_TIMES:
            raise SpeechError(f"{folder}: max_times_expected {self.times:g} is not above 0 and at most {MAX_TIMES:g}")
        if values.get("window_heads"):
            raise SpeechError(f"{folder}: window_heads in {GENERATION} are not exported; make them []")

    def say(self, reading: Reading, speaker: int, language: int, manner: Manner) -> Sound:
        settings, lengths = self.settings, np.array([len(reading.ids)])
        steps = max(1, math.ceil(self.times * settings.frames_per_phoneme * len(reading.ids) / settings.reduction))
        inputs = {"phonemes": np.array([reading.ids]), "lengths": lengths, "speaker": np.array([speaker])}
        memory = self.encoder.run({name: x for name, x in inputs.items() if name in self.encoder.inputs})
        keep = np.full((steps, 2, settings.prenet_width), 1 - settings.prenet_dropout, np.float32)  # none is dropped
        if self.seed is not None:
            keep = prenet_keep(steps, settings.prenet_width, settings.prenet_dropout, self.seed).astype(np.float32)
        past = self._empty(steps)
        into = {name.replace("past", "present"): value for name, value in past.items()}
        bound = Bound(self.decoder, {"lengths": lengths, **memory, **past}, into)
        frame, mels = np.zeros((1, settings.n_mels), np.float32), []
        for t in range(steps):
            mel, stop = np.empty((1, settings.reduction, settings.n_mels), np.float32), np.empty(1, np.float32)
            inputs = {"frame": frame, "filled": np.array([t]), "keep": keep[t : t + 1]}
            bound.run(inputs, {"mel": mel, "stop": stop})
            mels.append(mel)
            frame = mel[:, -1]
            if 1 / (1 + np.exp(-stop[0])) > self.threshold:
                rough = np.concatenate(mels, 1)
                sound = self.vocoder.run({"rough": rough, "frames": np.array([rough.shape[1]])}, ("waveforms", "mels"))
                return sound["waveforms"][0], sound["mels"][0], None
        raise without_end(reading, steps * settings.reduction, self.times)

    def _empty(self, steps: int):
        given = [x for name, x in self.decoder.inputs.items() if name.startswith("past_")]
        kind = np.float16 if given[0].type == "tensor(float16)" else np.float32
        return {x.name: self.decoder.value(np.zeros((1, steps, x.shape[2]), kind)) for x in given}


class OnnxSynthesizer(Talker):
    """The voice of a folder that `speech export` wrote. device: cpu, cuda or auto; precision: one it holds."""

    def __init__(self, folder: str | Path, device: str = "auto", precision: str = "32", threads: int = 0):
        folder = Path(folder)
        slow = read_json(folder / "config.json").get("model_type") == "transformer_tts"
        provider = pick_provider(device)
        if precision in ON_GPU and provider == CPU:
            raise SpeechError(f"precision {precision} wants a GPU: on the CPU choose 32 or int8")

        def graph(name: str) -> Session:
            return Session(graph_path(folder, name, precision), provider, threads)

        self.engine = FrameByFrame(folder, graph) if slow else OnePass(folder, graph)
        super().__init__(load_parts(folder))
        self.sample_rate, self.controls = self.engine.settings.sample_rate, self.engine.controls

    def _say(self, reading: Reading, speaker: int, language: int, manner: Manner) -> Spoken:
        waveform, mel, frames = self.engine.say(reading, speaker, language, manner)
        waveform = (waveform * np.float32(manner.volume)).clip(-1, 1)
        return Spoken(**vars(reading), frames=frames, mel=mel, waveform=waveform)
