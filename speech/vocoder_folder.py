"""A vocoder is a folder that explains itself: settings, those of its mel, safetensors weights, card."""

from pathlib import Path

from speech.folder import load_settings, load_weights, save_settings
from speech.models.aed import count_parameters
from speech.models.vocos import Vocos
from speech.nn.mel_config import VocosConfig


def _card(config: VocosConfig, n_parameters: int, notes: str) -> str:
    m = config.mel
    return (
        f"---\nlibrary_name: parlance-speech\npipeline_tag: audio-to-audio\n---\n\n# Vocos\n\n{n_parameters:,} "
        f"parameters: {m.n_mels} log-mel bins of {m.low_hz:g} ... {m.top_hz:g} Hz, a frame each {m.hop} samples, to "
        f"waveform at {m.sample_rate} Hz.\n\n{notes}\n"
    )


def save_vocoder(folder: str | Path, model: Vocos, notes: str = "") -> None:
    """Write the vocoder's folder."""
    folder = Path(folder)
    config = model.config.to_dict()
    save_settings(folder, {"model_type": "vocos"}, config, config.pop("mel"), model)
    (folder / "README.md").write_text(_card(model.config, count_parameters(model), notes))


def load_vocoder(folder: str | Path) -> Vocos:
    """In eval mode on the CPU. A missing, corrupt or mismatched file is one SpeechError naming it."""
    folder = Path(folder)
    config, mel = load_settings(folder, "vocos")
    return load_weights(folder, lambda: Vocos(VocosConfig.from_dict({**config, "mel": mel})))
