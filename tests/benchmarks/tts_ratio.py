"""Speech in one pass beside speech frame by frame, and what a second of speech costs from its text on.

    python tests/benchmarks/tts_ratio.py

CPU seconds, one thread, float32, random weights, medians of turns. First 60 phonemes to 500 frames: FastSpeech of the
paper's size, our Transformer TTS with its cache (512 d, 6 + 6 layers, every frame a step), and the same model run over
the whole prefix at each step, at every tenth prefix and counted as long between; then each with a Vocos 192 x 6. Then
voice folders by `speech.synthesizer`, espeak's phonemes included, where every phoneme is given 8.3 frames.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch

import math
import re
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import fastspeech
import torch
import transformer_tts
from turns import cpu_seconds

from speech.models.aed import count_parameters
from speech.models.fastspeech import FastSpeech
from speech.models.vocos import Vocos
from speech.nn.mel_config import MelConfig, VocosConfig
from speech.nn.tts_config import FastSpeechConfig
from speech.synthesizer import Synthesizer
from speech.text.phoneme_table import PhonemeTable
from speech.text.phoneme_tokenizer import PhonemeTokenizer
from speech.text.phonemes import load_phonemizer
from speech.vocoder_folder import save_vocoder
from speech.voice_folder import save_voice
from speech.voice_parts import VoiceParts

ROUNDS, SENTENCES = 5, 15
MEL = MelConfig()
PAPER = FastSpeechConfig()
SMALL = FastSpeechConfig(d_model=192, encoder_layers=3, decoder_layers=3, d_ff=768)
VOCOS = VocosConfig(MEL, d_model=192, n_layers=6, d_ff=576)
TEXT = "Twelve of the 38 letters came by the morning train, and nobody had asked for them."


def synthesizer(folder: Path, config: FastSpeechConfig) -> Synthesizer:
    """Every phoneme lasts as the mean of the first table."""
    phonemizer = load_phonemizer({"kind": "espeak", "language": "en-us"})
    tokenizer = PhonemeTokenizer(PhonemeTable.build([phonemizer(phonemizer.spoken(TEXT).text)]), "en-us")
    model = FastSpeech(config, tokenizer.size)
    torch.nn.init.zeros_(model.duration.out.weight)
    torch.nn.init.constant_(model.duration.out.bias, math.log(fastspeech.FRAMES / fastspeech.PHONEMES))
    save_voice(folder, model, VoiceParts(tokenizer, [phonemizer]))
    save_vocoder(folder / "vocoder", Vocos(VOCOS))
    return Synthesizer(folder, "cpu")


def ratios() -> None:
    voice, vocoder = FastSpeech(PAPER, fastspeech.SYMBOLS).eval(), Vocos(VOCOS).eval()
    teacher = transformer_tts.build(1)
    given, phonemes = fastspeech.inputs(), torch.randint(80, (1, transformer_tts.PHONEMES))
    fed, mels = transformer_tts.inputs(teacher, phonemes), torch.randn(1, fastspeech.FRAMES, MEL.n_mels) - 5
    runs = {
        "FastSpeech": partial(voice, *given),
        "Transformer TTS, cached": partial(transformer_tts.cached, teacher, phonemes, transformer_tts.PLAIN),
        "Transformer TTS, whole prefix": partial(transformer_tts.prefix, teacher, phonemes, fed),
        "Vocos": partial(vocoder, mels),
    }
    seconds = {name: median(values) for name, values in cpu_seconds(runs, ROUNDS).items()}
    seconds["Transformer TTS, whole prefix"] *= transformer_tts.EVERY
    last = seconds.pop("Vocos")
    best = seconds["FastSpeech"]
    print("| to the mel | M parameters | CPU s | ratio | with Vocos, CPU s | ratio |\n" + "|---" + 5 * "|--:" + "|")
    for name, found in seconds.items():
        size = count_parameters(voice if name == "FastSpeech" else teacher) / 1e6
        print(
            f"| {name} | {size:.1f} | {found:.3f} | {found / best:.1f} | {found + last:.3f} "
            f"| {(found + last) / (best + last):.1f} |"
        )


def whole() -> None:
    with TemporaryDirectory() as root:
        voices = {
            "384 d, 6 + 6": synthesizer(Path(root, "paper"), PAPER),
            "192 d, 3 + 3": synthesizer(Path(root, "small"), SMALL),
        }
        times = cpu_seconds({name: partial(voice.waveform, TEXT) for name, voice in voices.items()}, SENTENCES)
        print("\n| text to waveform | phonemes | seconds of sound | CPU s for one |\n|---|--:|--:|--:|")
        for name, voice in voices.items():
            (said,) = voice.speak(TEXT)
            sound = len(said.waveform) / voice.sample_rate
            print(f"| {name} | {len(said.phonemes)} | {sound:.2f} | {median(times[name]) / sound:.4f} |")


@torch.inference_mode()
def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[1]
    print(f"torch {torch.__version__}, {cpu}, one thread, {fastspeech.PHONEMES} phonemes, {fastspeech.FRAMES} frames\n")
    ratios()
    whole()


if __name__ == "__main__":
    main()
