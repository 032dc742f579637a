"""Train the aligner of a voice and write how long each phoneme of its corpus lasts.

python -m recipes.train_aligner --data.train train.jsonl.gz --data.dev dev.jsonl.gz --data.tokenizer voice \
    --train.out exp/aligner
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from speech.config import parse
from speech.errors import SpeechError, run
from speech.training.voice_config import AlignerRecipe

log = logging.getLogger(__name__)
MAX_TOKENS = 100_000  # no decoder limits the phonemes


def main(argv: Sequence[str] | None = None) -> None:
    recipe = parse(AlignerRecipe, argv, "python -m recipes.train_aligner", "Train an aligner.")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True)
    train(recipe)


def train(recipe: AlignerRecipe) -> Path:
    """Data, model, fit, average; returns `<out>/durations.npz`, frames of each phoneme of train and dev by cut."""
    import torch

    from speech.data.arrays import save_arrays
    from speech.data.asr import ASRStream
    from speech.data.corpus import read_corpus
    from speech.data.manifests import load_audio
    from speech.models.aed import count_parameters
    from speech.models.aligner import Aligner, hard_durations
    from speech.models.voice_sound import VoiceSound
    from speech.text.load import load_tokenizer
    from speech.training.aligner_task import AlignerTask
    from speech.training.average import average_checkpoints
    from speech.training.trainer import fit

    data, config, rate = recipe.data, recipe.train, recipe.mel.sample_rate
    for name in ("train", "dev", "tokenizer"):
        if not getattr(data, name):
            raise SpeechError(f"data.{name} is empty: give --data.{name} PATH")
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    tokenizer = load_tokenizer(data.tokenizer)
    corpora = [read_corpus(path, tokenizer, data, MAX_TOKENS) for path in (data.train, data.dev)]
    total = config.max_steps * config.accumulate
    train_stream = ASRStream(corpora[0], data, rate, config.seed, total)
    dev_stream = ASRStream(corpora[1], data, rate, config.seed, None)
    sound = VoiceSound(recipe.mel)
    rows = corpora[0].rows[:: max(1, len(corpora[0].rows) // 500)]
    sound.measure(torch.from_numpy(load_audio(corpora[0].cut(row), rate)) for row in rows)
    model = Aligner(recipe.model, tokenizer.size, recipe.mel.n_mels)
    log.info(f"train: {corpora[0]}; dev: {corpora[1]}; aligner: {count_parameters(model):,} parameters")
    task = AlignerTask(model, sound, recipe)
    root = fit(task, train_stream, dev_stream, recipe.optim, config, recipe.describe())
    path = Path(config.out) / "durations.npz"
    if root is None:
        return path
    log.info(average_checkpoints(root, config.keep, model))
    task = task.eval().cpu()

    @torch.inference_mode()
    def durations(batch):
        scores, frames = task.scores(batch)
        found = hard_durations(scores, frames, batch.token_lengths)
        return [(i, d[:n].numpy()) for i, d, n in zip(batch.ids, found, batch.token_lengths, strict=True)]

    once = replace(data, short_epochs=0)
    streams = [ASRStream(corpus, once, rate, config.seed, None) for corpus in corpora]
    count = save_arrays(path, chain.from_iterable(durations(batch) for batch in chain(*streams)))
    log.info(f"{path}: durations of {count} cuts")
    return path


if __name__ == "__main__":
    run(main)
