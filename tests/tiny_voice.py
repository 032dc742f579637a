"""Tiny voices that read letters: German and French, FastSpeech with all controls or Transformer TTS."""

import dataclasses
from pathlib import Path
from typing import Any

import torch

from speech.models.fastspeech import FastSpeech
from speech.models.transformer_tts import TransformerTTS
from speech.models.vocos import Vocos
from speech.nn.mel_config import MelConfig, VocosConfig
from speech.nn.transformer_tts_config import TransformerTTSConfig
from speech.nn.tts_config import FastSpeechConfig
from speech.text.phoneme_table import PhonemeTable
from speech.text.phoneme_tokenizer import PhonemeTokenizer
from speech.text.phonemes import load_phonemizer
from speech.vocoder_folder import save_vocoder
from speech.voice_folder import save_voice
from speech.voice_parts import VoiceParts

MEL = MelConfig(sample_rate=8000, n_fft=256, win=200, hop=64, n_mels=20, high_hz=3800.0)
PLAIN = FastSpeechConfig(MEL, 16, 2, 1, 1, 24, predictor_filters=12)
FULL = dataclasses.replace(PLAIN, pitch=True, energy=True, n_speakers=2, n_languages=2)
TOKENIZER = PhonemeTokenizer(PhonemeTable.build([[*"abcdefghijklmnoprstuvwz,.?!-"]]), "de")


def parts(speakers=("Anna", "Bo"), languages=("de", "fr"), kind: str = "lexicon") -> VoiceParts:
    readers = [load_phonemizer({"kind": kind, "language": language}) for language in languages]
    return VoiceParts(TOKENIZER, readers, list(speakers))


def fastspeech(config: FastSpeechConfig = FULL) -> FastSpeech:
    """About 3 frames a phoneme, of different lengths, pitches and speakers."""
    torch.manual_seed(0)
    model = FastSpeech(config, TOKENIZER.size).eval()
    model.duration.out.bias.data.fill_(1.2)
    for table in (model.speaker, model.language):
        if table is not None:
            table.weight.data.mul_(10)
    return model


def transformer_tts(stop: float = -2.0, **options) -> TransformerTTS:
    """Stops before its cap where it has two speakers; with a stop of -100 never."""
    torch.manual_seed(28)
    sizes: dict[str, Any] = dict(
        d_model=16, n_heads=2, encoder_layers=1, decoder_layers=1, d_ff=32, encoder_convs=1, prenet_width=8
    )
    sizes |= dict(postnet_layers=2, postnet_channels=8)
    model = TransformerTTS(TransformerTTSConfig(MEL, **(sizes | options)), TOKENIZER.size).eval()
    torch.nn.init.normal_(model.stop.weight, std=1.0)
    model.stop.bias.data.fill_(stop)
    for name, weight in model.named_parameters():
        if name.endswith("cross.out.weight"):
            weight.data.mul_(4)  # hear the phonemes well
    if model.speaker is not None:
        model.speaker.weight.data.mul_(3)
    return model


def saved(folder: Path, model: FastSpeech | TransformerTTS, voice: VoiceParts) -> Path:
    """With a vocoder, which is quicker than Griffin-Lim."""
    save_voice(folder, model, voice, "A note.")
    torch.manual_seed(0)
    save_vocoder(folder / "vocoder", Vocos(VocosConfig(MEL, d_model=8, n_layers=1, d_ff=16, kernel=3)).eval())
    return folder
