"""Train a FastSpeech on the durations of an aligner and write its voice folder.

python -m recipes.train_fastspeech --data.train train.jsonl.gz --data.dev dev.jsonl.gz --data.tokenizer voice \
    --durations exp/aligner/durations.npz --train.out exp/fastspeech
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from speech.config import parse
from speech.errors import SpeechError, run
from speech.training.voice_config import FastSpeechRecipe

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    recipe = parse(FastSpeechRecipe, argv, "python -m recipes.train_fastspeech", "Train a FastSpeech.")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True)
    train(recipe)


def train(recipe: FastSpeechRecipe) -> Path:
    """Data, model, fit, average; returns the voice folder `<out>/voice`."""
    import torch

    from speech.data.arrays import Arrays
    from speech.models.aed import count_parameters
    from speech.models.fastspeech import FastSpeech
    from speech.text.phonemes import load_phonemizer
    from speech.training.average import average_checkpoints
    from speech.training.fastspeech_task import FastSpeechTask
    from speech.training.trainer import fit
    from speech.training.voice_data import open_voice
    from speech.voice_folder import save_voice

    if not recipe.durations:
        raise SpeechError("durations is empty: give --durations PATH, which recipes.train_aligner writes")
    voice = open_voice(recipe.data, recipe.train, recipe.model.mel)
    phonemizer = load_phonemizer(recipe.data.tokenizer)
    model = FastSpeech(recipe.model, voice.tokenizer.size)
    model.mel_mean.copy_(voice.sound.mean)
    model.mel_std.copy_(voice.sound.std)
    log.info(f"FastSpeech: {count_parameters(model):,} parameters")
    task = FastSpeechTask(model, voice.sound, Arrays(recipe.durations), recipe)
    root = fit(task, voice.train, voice.dev, recipe.optim, recipe.train, recipe.describe())
    folder = Path(recipe.train.out) / "voice"
    if root is not None:
        notes = average_checkpoints(root, recipe.train.keep, model)
        task = task.eval().cpu()
        with torch.inference_mode():
            frames = torch.stack([torch.stack(task.losses(batch).frames) for batch in voice.dev]).sum(0)
        model.duration_gain.fill_(float(frames[1] / frames[0]))
        save_voice(folder, model, voice.tokenizer, phonemizer, notes)
        log.info(f"voice folder: {folder}; durations x {float(model.duration_gain):.3f}")
    return folder


if __name__ == "__main__":
    run(main)
