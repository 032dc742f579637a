"""Train a Vocos vocoder on recordings and write its model folder; then finish it on the mels of a voice.

python -m recipes.train_vocoder --data.train train.jsonl.gz --data.dev dev.jsonl.gz --train.out exp/vocoder
python -m recipes.train_vocoder --data.train train.jsonl.gz --data.dev dev.jsonl.gz --data.mels exp/mels.npz \
    --init exp/vocoder/model --train.out exp/vocoder-finished
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from speech.config import parse, require
from speech.errors import SpeechError, run
from speech.training.log import start_log
from speech.training.vocoder_config import VocoderRecipe, describe_vocoder

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    start_log()
    train(parse(VocoderRecipe, argv, "python -m recipes.train_vocoder", "Train a vocoder.", "vocoder"))


def train(recipe: VocoderRecipe) -> Path:
    """Data, model, fit, average; returns the model folder `<out>/model`."""
    import torch

    from speech.data.arrays import Arrays
    from speech.data.crops import CropStream
    from speech.data.manifests import open_manifest
    from speech.models.aed import count_parameters
    from speech.models.vocos import Vocos
    from speech.training.average import average_checkpoints
    from speech.training.trainer import fit
    from speech.training.vocoder_task import VocoderTask
    from speech.vocoder_folder import load_vocoder, save_vocoder

    started = load_vocoder(recipe.init) if recipe.init else None
    if started is not None:
        recipe = replace(recipe, model=started.config)
    data, config, mel = recipe.data, recipe.train, recipe.model.mel
    require(recipe, "data.train", "data.dev")
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    crops = (mel.sample_rate, data.crop_samples, mel.hop, data.crops, config.seed)
    total = config.max_steps * config.accumulate
    mels = Arrays(data.mels) if data.mels else None
    if mels is not None and (shape := next(iter(mels.values())).shape[1:]) != (mel.n_mels,):
        raise SpeechError(f"data.mels {data.mels} has frames of {list(shape)}, the vocoder reads {mel.n_mels} bins")
    cuts = list(open_manifest(data.train))
    train_stream = CropStream(cuts, *crops, total, data.workers, data.cache_seconds, data.max_lost, mels)
    dev_stream = CropStream(list(open_manifest(data.dev)), *crops, None, mels=mels)
    log.info(f"train: {len(train_stream.cuts)} cuts, {train_stream.hours:.2f} h; dev: {dev_stream.hours:.2f} h")

    model = started.train() if started is not None else Vocos(recipe.model)
    task = VocoderTask(model, recipe)
    for name, part in ("vocoder", model), ("discriminators", task.discriminators):
        log.info(f"{name}: {count_parameters(part):,} parameters")
    root = fit(task, train_stream, dev_stream, recipe.optim, config, describe_vocoder(recipe))
    folder = Path(config.out) / "model"
    if root is not None:
        save_vocoder(folder, model, average_checkpoints(root, config.keep, model))
        log.info(f"model folder: {folder}")
    return folder


if __name__ == "__main__":
    run(main)
