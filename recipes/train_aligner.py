"""Train the aligner of a voice and write how long each phoneme of its corpus lasts.

python -m recipes.train_aligner --data.train train.jsonl.gz --data.dev dev.jsonl.gz --data.tokenizer voice \
    --train.out exp/aligner
"""

import logging
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from speech.config import parse
from speech.errors import run
from speech.training.log import start_log
from speech.training.voice_config import AlignerRecipe

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    start_log()
    train(parse(AlignerRecipe, argv, "python -m recipes.train_aligner", "Train an aligner.", "aligner"))


def train(recipe: AlignerRecipe) -> Path:
    """Data, model, fit, average; returns `<out>/durations.npz`, frames of each phoneme by cut."""
    import torch

    from speech.data.arrays import save_arrays
    from speech.models.aed import count_parameters
    from speech.models.aligner import Aligner, hard_durations
    from speech.training.aligner_task import AlignerTask
    from speech.training.average import average_checkpoints
    from speech.training.trainer import fit
    from speech.training.voice_data import open_voice

    voice = open_voice(recipe, recipe.mel)
    model = Aligner(recipe.model, voice.tokenizer.size, recipe.mel.n_mels)
    log.info(f"aligner: {count_parameters(model):,} parameters")
    task = AlignerTask(model, voice.sound, voice.tokenizer.pieces, recipe)
    root = fit(task, voice.train, voice.dev, recipe.optim, recipe.train, recipe.describe())
    path = Path(recipe.train.out) / "durations.npz"
    if root is None:
        return path
    log.info(average_checkpoints(root, recipe.train.keep, model))
    task = task.eval().cpu()

    @torch.inference_mode()
    def durations(batch):
        scores, frames = task.scores(batch)
        found = hard_durations(scores, frames, batch.token_lengths)
        return [(i, d[:n].numpy()) for i, d, n in zip(batch.ids, found, batch.token_lengths, strict=True)]

    streams = voice.once(recipe.data, recipe.also)
    count = save_arrays(path, chain.from_iterable(durations(batch) for batch in chain(*streams)))
    log.info(f"{path}: durations of {count} cuts")
    return path


if __name__ == "__main__":
    run(main)
