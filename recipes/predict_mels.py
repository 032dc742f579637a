"""The mels that a FastSpeech voice makes of recorded sentences at their own pace: a vocoder is finished on them.

python -m recipes.predict_mels exp/fastspeech/voice --train train.jsonl.gz --dev dev.jsonl.gz \
    --durations exp/aligner/durations.npz --out exp/mels.npz
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from speech.errors import DataError, SpeechError, run
from speech.training.voice_config import FastSpeechRecipe


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("voice", type=Path, help="voice folder")
    for split in ("train", "dev"):
        parser.add_argument(f"--{split}", required=True, help="manifest whose texts are phonemes")
    parser.add_argument("--durations", required=True, help="durations.npz of recipes.train_aligner")
    for name in ("pitch", "energy"):
        parser.add_argument(f"--{name}", help=f"{name}.npz of recipes.measure_prosody, for a voice with model.{name}")
    parser.add_argument("--out", type=Path, required=True, help="mels.npz: natural logarithms [frames, bins] by cut")
    args = parser.parse_args(argv)
    files = {"durations": args.durations, "pitch": args.pitch, "energy": args.energy}
    print(f"{args.out}: mels of {predict(args.voice, (args.train, args.dev), files, args.out)} cuts")


def predict(folder: Path, manifests: Sequence[str], files: Mapping[str, str | None], out: Path) -> int:
    """Write `out` with a mel [samples // hop, F] for each cut, float16; returns how many."""
    import numpy as np
    import torch
    from torch.nn.utils.rnn import pad_sequence

    from speech.data.arrays import Arrays, save_arrays
    from speech.data.asr import ASRStream
    from speech.data.corpus import read_corpus
    from speech.models.fastspeech import FastSpeech
    from speech.training.voice_data import MAX_TOKENS
    from speech.voice_folder import load_voice

    voice = load_voice(folder)
    model, tokenizer = voice.model, voice.parts.tokenizer
    if not isinstance(model, FastSpeech):
        raise SpeechError(f"{folder} is no FastSpeech voice, only one speaks at the pace of given durations")
    mel = model.config.mel
    names = ["durations", *(name for name in ("pitch", "energy") if getattr(model.config, name))]
    if missing := [name for name in names if not files[name]]:
        raise SpeechError(f"{folder} has model.{missing[0]}: give --{missing[0]} PATH, which it was trained on")
    arrays = {name: Arrays(str(files[name])) for name in names}
    data = FastSpeechRecipe().data

    @torch.inference_mode()
    def mels(batch):
        if batch.lost:
            raise DataError(batch.lost[0])
        told = {
            name: pad_sequence([torch.from_numpy(found[i]) for i in batch.ids], batch_first=True)
            for name, found in arrays.items()
        }
        frames = batch.waveform_lengths // mel.hop
        for name, values in told.items():
            if values.shape != batch.tokens.shape or (name == "durations" and not torch.equal(values.sum(1), frames)):
                raise DataError(f"{name} of {', '.join(batch.ids)} do not fit: make {files[name]} anew")
        found = model.denormalize(model(batch.tokens, batch.token_lengths, **told).mel)
        return [(i, x[:n].numpy().astype(np.float16)) for i, x, n in zip(batch.ids, found, frames, strict=True)]

    streams = [
        ASRStream(read_corpus(path, tokenizer, data, MAX_TOKENS), data, mel.sample_rate, 0, None) for path in manifests
    ]
    return save_arrays(out, (pair for stream in streams for batch in stream for pair in mels(batch)))


if __name__ == "__main__":
    run(main)
