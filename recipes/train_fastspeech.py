"""Train a FastSpeech on the durations of an aligner and write its voice folder.

python -m recipes.train_fastspeech --data.train train.jsonl.gz --data.dev dev.jsonl.gz --data.tokenizer voice \
    --durations exp/aligner/durations.npz --train.out exp/fastspeech

For a pitch and an energy of each phoneme, as recipes.measure_prosody writes them: --model.pitch true --pitch pitch.npz
--model.energy true --energy energy.npz.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from speech.config import parse
from speech.errors import run
from speech.training.log import start_log
from speech.training.voice_config import FastSpeechRecipe

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    start_log()
    train(parse(FastSpeechRecipe, argv, "python -m recipes.train_fastspeech", "Train a FastSpeech.", "fastspeech"))


def train(recipe: FastSpeechRecipe) -> Path:
    """Data, model, fit, average; returns the voice folder `<out>/voice`."""
    import torch

    from speech.data.arrays import Arrays
    from speech.models.aed import count_parameters
    from speech.models.fastspeech import FastSpeech
    from speech.training.average import average_checkpoints
    from speech.training.fastspeech_task import FastSpeechTask
    from speech.training.trainer import fit
    from speech.training.voice_data import open_voice
    from speech.voice_folder import save_voice

    arrays = {name: Arrays(path) for name, path in recipe.arrays().items()}
    voice = open_voice(recipe, recipe.model.mel)
    who = {"n_speakers": max(1, len(voice.parts.speakers)), "n_languages": len(voice.parts.languages)}
    recipe = replace(recipe, model=replace(recipe.model, **who))
    model = FastSpeech(recipe.model, voice.tokenizer.size)
    model.mel_mean.copy_(voice.sound.mean)
    model.mel_std.copy_(voice.sound.std)
    for name in arrays.keys() & {"pitch", "energy"}:
        getattr(model, f"{name}_std").fill_(arrays[name].scale)
    log.info(f"FastSpeech: {count_parameters(model):,} parameters")
    task = FastSpeechTask(model, voice.sound, arrays, voice.identities(), recipe)
    root = fit(task, voice.train, voice.dev, recipe.optim, recipe.train, recipe.describe())
    folder = Path(recipe.train.out) / "voice"
    if root is not None:
        notes = average_checkpoints(root, recipe.train.keep, model)
        task = task.eval().cpu()
        with torch.inference_mode():
            frames = torch.stack([torch.stack(task.losses(batch).frames) for batch in voice.dev]).sum(0)
        model.duration_gain.fill_(float(frames[1] / frames[0]))
        save_voice(folder, model, voice.parts, notes)
        log.info(f"voice folder: {folder}; durations x {float(model.duration_gain):.3f}")
    return folder


if __name__ == "__main__":
    run(main)
