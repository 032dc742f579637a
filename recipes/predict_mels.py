"""The mels that a FastSpeech voice makes of recorded sentences at their own pace: a vocoder is finished on them.

python -m recipes.predict_mels exp/fastspeech/voice --train train.jsonl.gz --dev dev.jsonl.gz \
    --durations exp/aligner/durations.npz --out exp/mels.npz
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
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
    predict(parser.parse_args(argv))


def predict(args: argparse.Namespace) -> None:
    """Write a mel [samples // hop, F] for each cut, float16."""
    import numpy as np
    import torch
    from torch.nn.utils.rnn import pad_sequence

    from speech.data.arrays import Arrays, save_arrays
    from speech.models.fastspeech import FastSpeech
    from speech.training.voice_data import open_voice
    from speech.voice_folder import load_voice

    model = load_voice(args.voice).model
    if not isinstance(model, FastSpeech):
        raise SpeechError(f"{args.voice} is no FastSpeech voice: only one speaks at the pace of given durations")
    names = ["durations", *(name for name in ("pitch", "energy") if getattr(model.config, name))]
    for name in names:
        if not getattr(args, name):
            raise SpeechError(f"{args.voice} has model.{name}: give --{name} PATH, the one it was trained on")
    arrays = {name: Arrays(getattr(args, name)) for name in names}
    recipe = FastSpeechRecipe()
    data = replace(recipe.data, train=args.train, dev=args.dev, tokenizer=str(args.voice))
    voice = open_voice(replace(recipe, data=data), model.config.mel)
    identities = voice.identities()

    @torch.inference_mode()
    def mels(batch):
        if batch.lost:
            raise DataError(batch.lost[0])
        given = {
            name: pad_sequence([torch.from_numpy(values[i]) for i in batch.ids], batch_first=True)
            for name, values in arrays.items()
        }
        frames = voice.sound.log_mel.frames(batch.waveform_lengths)
        for name, values in given.items():
            if values.shape != batch.tokens.shape or (name == "durations" and not torch.equal(values.sum(1), frames)):
                raise DataError(f"{name} of {', '.join(batch.ids)} do not fit: make {arrays[name].path} anew")
        speaker, language = torch.tensor([identities.get(i, (0, 0)) for i in batch.ids]).unbind(1)
        made = model(batch.tokens, batch.token_lengths, **given, speaker=speaker, language=language).mel
        made = model.denormalize(made).numpy().astype(np.float16)
        return [(i, mel[:n]) for i, mel, n in zip(batch.ids, made, frames, strict=True)]

    count = save_arrays(args.out, (pair for batch in chain(*voice.once(data)) for pair in mels(batch)))
    print(f"{args.out}: mels of {count} cuts")


if __name__ == "__main__":
    run(main)
