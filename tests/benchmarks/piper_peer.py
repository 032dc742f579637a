"""A voice exported for piper, in piper: the phonemes that piper reads, its sound and its length_scale against ours.

    python -m venv PEER && PEER/bin/pip install piper-tts==1.8.0
    python tests/benchmarks/piper_peer.py PEER/bin/python

A tiny voice of American English by espeak with random weights. piper-tts is GPL-3: it stays in its own environment.
"""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_voice import PLAIN, saved

from export.piper import export_piper
from speech.models.fastspeech import FastSpeech
from speech.synthesizer import Synthesizer
from speech.text.phoneme_table import PhonemeTable
from speech.text.phoneme_tokenizer import PhonemeTokenizer
from speech.text.phonemes import load_phonemizer
from speech.voice_parts import VoiceParts

TEXTS = [
    "Where were you while we were away?",
    "Hello world, how are you today: fine or not?",
    "The quick brown fox jumps over the lazy dog.",
    "She sells sea shells by the sea shore; they are judged by their usual measure.",
    "Peter's mother bought nothing.",
]
PEER = """
import json, sys
from piper import PiperVoice, SynthesisConfig
voice, said = PiperVoice.load(sys.argv[1]), []
for text in json.loads(sys.argv[2]):
    one = {}
    for scale in (1.0, 2.0):
        chunks = list(voice.synthesize(text, SynthesisConfig(length_scale=scale, normalize_audio=False)))
        one[scale] = [float(x) for chunk in chunks for x in chunk.audio_float_array]
    said.append([[i for chunk in chunks for i in chunk.phoneme_ids if i], one[1.0], len(one[2.0])])
print(json.dumps(said))
"""


def main(peer: str) -> None:
    reader = load_phonemizer({"kind": "espeak", "language": "en-us"})
    table = PhonemeTable.build([reader(reader.spoken(text).text) for text in TEXTS])
    torch.manual_seed(0)
    model = FastSpeech(PLAIN, len(table)).eval()
    model.duration.out.bias.data.fill_(1.2)
    with TemporaryDirectory() as folder:
        voice = saved(Path(folder) / "voice", model, VoiceParts(PhonemeTokenizer(table, "en-us"), [reader]))
        export_piper(voice, out := Path(folder) / "piper")
        command = [peer, "-c", PEER, str(out / "voice.onnx"), json.dumps(TEXTS)]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        ours = Synthesizer(voice, "cpu")
        print("| text | same phonemes | difference of the sound | samples at length_scale 2 : 1 |\n|---|---|--:|--:|")
        for text, (ids, samples, longer) in zip(TEXTS, found, strict=True):
            said = list(ours.speak(text))
            waveform = np.concatenate([one.waveform for one in said])
            same = ids == [i for one in said for i in one.ids]
            error = f"{np.abs(waveform - samples).max():.0e}" if len(waveform) == len(samples) else "other length"
            print(f"| {text} | {same} | {error} | {longer / len(samples):.3f} |")


if __name__ == "__main__":
    main(sys.argv[1])
