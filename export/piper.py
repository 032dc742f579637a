"""A FastSpeech voice that piper runs: voice.onnx and voice.onnx.json by the contract of piper-tts 1.8."""

import json
import logging
import unicodedata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from export.graph import Input
from export.voice import save_voice_graph
from export.voice_package import open_voice
from speech.errors import SpeechError
from speech.models.fastspeech import FastSpeech
from speech.models.length_regulator import phoneme_of_frames
from speech.models.vocos import Vocos
from speech.nn.masks import valid
from speech.nn.mel_config import MelConfig
from speech.text.espeak import EspeakPhonemizer
from speech.text.lexicon import LexiconPhonemizer
from speech.voice_parts import VoiceParts

log = logging.getLogger(__name__)


def export_piper(source: Path, out: Path) -> None:
    """Float32, the first language of the voice."""
    voice, vocoder = open_voice(source)
    if not isinstance(voice.model, FastSpeech):
        raise SpeechError(f"{source}: piper speaks in one pass, it runs voices of FastSpeech alone")
    settings = piper_settings(voice.parts, voice.model.config.mel)
    out.mkdir(parents=True, exist_ok=True)
    inputs = [
        Input("input", torch.ones(2, 7, dtype=torch.long), {0: "batch_size", 1: "phonemes"}),
        Input("input_lengths", torch.tensor([7, 5]), {0: "batch_size"}),
        Input("scales", torch.tensor([0.0, 1.0, 0.0]), {}),
        *([Input("sid", torch.zeros(2, dtype=torch.long), {0: "batch_size"})] if voice.model.speaker else []),
    ]
    save_voice_graph(voice.model, vocoder, torch.float32, inputs, ["output"], out / "voice.onnx", _speak)
    (out / "voice.onnx.json").write_text(json.dumps(settings, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _speak(both: tuple[FastSpeech, Vocos], ids: Tensor, lengths: Tensor, scales: Tensor, *sid: Tensor) -> Tensor:
    """input [B, T], lengths [B], scales [3]: noise, length, noise of lengths; speaker [B] -> output [B, 1, samples].

    piper puts a pad between any two phonemes, which our voices have never heard: the graph leaves them out.
    """
    model, vocoder = both
    real = valid(lengths, ids.size(1)) & (ids != 0)
    ids = ids.gather(1, phoneme_of_frames(real.long(), ids.size(1)))
    language = torch.zeros_like(lengths) if model.language else None
    out = model.synthesize(ids, real.sum(1), *sid, language=language, length_scale=scales[1])
    waveforms = vocoder(model.denormalize(out.mel), out.mel_lengths)
    return waveforms[:, None] + 0 * (scales[0] + scales[2])  # an input without use would be dropped


def piper_settings(parts: VoiceParts, mel: MelConfig) -> dict[str, Any]:
    """What piper reads a text by. Its espeak gives code points, which vowel_clusters join to our phonemes; a voice that
    reads letters takes the code points of the text. SpeechError for other voices: piper cannot read for them."""
    reader = parts.phonemizers[0]
    pieces = {symbol: unicodedata.normalize("NFD", symbol) for symbol in parts.tokenizer.table.symbols}
    ids = {piece: [i] for i, piece in enumerate(pieces.values())}
    several = [piece for piece in pieces.values() if len(piece) > 1]
    espeak = isinstance(reader, EspeakPhonemizer)
    if not espeak:
        if not isinstance(reader, LexiconPhonemizer) or reader.language.startswith("en"):
            raise SpeechError(f"piper reads by espeak or by letters, the voice by {reader.kind} in {reader.language}")
        if several:
            log.warning("piper has no way to %s: it reads no letters with marks", " ".join(several))
        capitals = {piece.upper(): i for piece, i in ids.items() if len(piece.upper()) == 1}
        ids, several = capitals | {piece: i for piece, i in ids.items() if piece not in several}, []
    return {
        "audio": {"sample_rate": mel.sample_rate},
        "hop_length": mel.hop,
        "espeak": {"voice": reader.language},
        "phoneme_type": "espeak" if espeak else "text",
        "vowel_clusters": [list(piece) for piece in several],
        "num_symbols": len(pieces),
        "phoneme_id_map": ids,
        "num_speakers": max(1, len(parts.speakers)),
        "speaker_id_map": {name: i for i, name in enumerate(parts.speakers)},
        "inference": {"noise_scale": 0.0, "length_scale": 1.0, "noise_w": 0.0},
    }
