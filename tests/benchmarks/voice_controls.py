"""Length scales of a voice: do durations follow, and is the same text read back?

python tests/benchmarks/voice_controls.py VOICE RECOGNIZER MANIFEST [--limit 100]
"""

import argparse
from itertools import chain

import numpy as np

from speech.data.manifests import open_manifest
from speech.metrics import error_rates
from speech.recognizer import load_model
from speech.synthesizer import Synthesizer
from speech.talker import Manner

SCALES = (0.5, 0.75, 1.0, 1.5, 2.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("voice")
    parser.add_argument("recognizer")
    parser.add_argument("manifest")
    parser.add_argument("--limit", type=int, default=100)
    args = parser.parse_args()
    voice, judge = Synthesizer(args.voice, "cpu"), load_model(args.recognizer, "cpu")
    texts = [cut.supervisions[0].custom["said"] for cut in open_manifest(args.manifest)][: args.limit]
    plain = [list(voice.speak(text, Manner())) for text in texts]
    print("| length_scale | frames / those of 1 | WER |\n|--:|--:|--:|")
    for scale in SCALES:
        said = [list(voice.speak(text, Manner(length_scale=scale))) for text in texts]
        ratio = _frames(said) / _frames(plain)
        sounds = [np.concatenate([s.waveform for s in sentences]) for sentences in said]
        heard = judge.transcribe(sounds, sampling_rate=voice.sample_rate)
        rates = error_rates([str(i) for i in range(len(texts))], texts, [h.text for h in heard], "word")
        print(f"| {scale:g} | {ratio:.3f} | {100 * rates.rate:.2f} % |")
    slow = [list(voice.speak(text, Manner(pause_scale=2.0))) for text in texts]
    pauses = rest = 0
    for before, after in zip(chain(*plain), chain(*slow), strict=True):
        blank = np.array([False, *(not p.strip() or p in ",.?!;:-" for p in before.phonemes), False])
        pauses += int((after.frames - before.frames)[blank].sum())
        rest += int(np.abs(after.frames - before.frames)[~blank].sum())
    print(f"\npause_scale 2: {pauses} more frames in pauses, {rest} in all else")


def _frames(said) -> int:
    return sum(int(s.frames.sum()) for sentences in said for s in sentences)


if __name__ == "__main__":
    main()
