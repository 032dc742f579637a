"""A vocoder is a folder that explains itself: settings, those of its mel, safetensors weights, card."""

from pathlib import Path

from speech.folder import load_settings, load_weights, save_card, save_settings
from speech.models.aed import count_parameters
from speech.models.vocos import Vocos
from speech.nn.mel_config import VocosConfig


def save_vocoder(folder: str | Path, model: Vocos, notes: str = "") -> None:
    """Write the vocoder's folder."""
    folder, m = Path(folder), model.config.mel
    save_settings(folder, "vocos", model, "mel")
    about = (
        f"{count_parameters(model):,} parameters: {m.n_mels} log-mel bins of {m.low_hz:g} ... {m.top_hz:g} Hz, a frame "
        f"each {m.hop} samples, to waveform at {m.sample_rate} Hz."
    )
    save_card(folder, "audio-to-audio", "Vocos", about, notes)


def load_vocoder(folder: str | Path) -> Vocos:
    """In eval mode on the CPU. A missing, corrupt or mismatched file is one SpeechError naming it."""
    config = load_settings(Path(folder), "vocos", "mel")
    return load_weights(Path(folder), lambda: Vocos(VocosConfig.from_dict(config)))
