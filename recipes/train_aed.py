"""Train an attention encoder-decoder recogniser, from nothing or from a model folder, and write its model folder."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from speech.config import require
from speech.errors import SpeechError, run
from speech.training.config import AEDRecipe
from speech.training.log import start_log
from speech.training.settings import check_init, generation_of, parse_recipe

log = logging.getLogger(__name__)
CTC_ROOM = 0.5  # tokens a frame: above it the alignments of many texts have hardly a choice


def main(argv: Sequence[str] | None = None) -> None:
    start_log()
    train(parse_recipe(AEDRecipe, argv, "speech train", "Train an attention encoder-decoder recogniser."))


def train(recipe: AEDRecipe) -> Path:
    """Data, model, fit, average; returns the model folder `<out>/model`."""
    import torch

    from speech.data.asr import ASRStream
    from speech.data.batch_sizes import BatchSizes
    from speech.data.bins import Bins, profile_sizes
    from speech.data.corpus import made_for, read_corpus
    from speech.data.manifests import open_manifest
    from speech.data.statistics import feature_statistics
    from speech.folder import save_model
    from speech.models.aed import AED, count_parameters
    from speech.text.load import load_tokenizer
    from speech.training.aed_task import AEDTask
    from speech.training.average import average_checkpoints
    from speech.training.init import start_model
    from speech.training.probe import device_memory
    from speech.training.run import describe
    from speech.training.trainer import fit

    data, config = recipe.data, recipe.train
    require(recipe, "data.train", "data.dev", "data.tokenizer")
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    tokenizer = load_tokenizer(data.tokenizer)
    if recipe.init:
        check_init(recipe, tokenizer)
    generation = generation_of(recipe)  # now: the init folder may be gone when the training ends
    blank = tokenizer.blank_id
    if recipe.model.ctc and blank is None:
        raise SpeechError(f"tokenizer {data.tokenizer} has no CTC blank: set --model.ctc false")
    rate, total = recipe.model.frontend.sample_rate, config.max_steps * config.accumulate
    limit = recipe.model.decoder.max_tokens
    bins = Bins.load(data.bins, made_for(tokenizer, data, limit)) if data.bins else None
    profile = sizes = None
    if bins is not None and data.batch_sizes:
        profile = BatchSizes.load(data.batch_sizes, device_memory(recipe), data.force_batch_sizes).sizes
        sizes = profile_sizes(bins, profile)
    train_corpus = read_corpus(data.train, tokenizer, data, limit, bins, data.augment.paces, profile)
    dev_corpus = read_corpus(data.dev, tokenizer, replace(data, bins="", batch_sizes=""), limit)
    log.info(f"train: {train_corpus}")
    log.info(f"dev: {dev_corpus}")
    train_stream = ASRStream(train_corpus, data, rate, config.seed, total, data.augment, sizes)
    if data.augment.noise_manifest:
        train_stream.noises = list(open_manifest(data.augment.noise_manifest))
    dev_stream = ASRStream(dev_corpus, data, rate, config.seed, None)

    model = start_model(recipe, tokenizer) if recipe.init else AED(recipe.model, tokenizer.size)
    log.info(f"model: {count_parameters(model):,} parameters, {tokenizer.size} tokens")
    if recipe.model.ctc:
        frames = 1000 / (recipe.model.frontend.hop_ms * model.encoder.subsampling.factor)
        spoken = train_corpus.tokens_per_second
        log.info(f"CTC: {spoken:.1f} tokens in {frames:g} frames a second")
        if spoken > CTC_ROOM * frames:
            log.warning(
                f"warning: a token for every {frames / spoken:.1f} frames leaves CTC little room, and it may learn "
                "nothing: a tokenizer with more pieces, or --model.encoder.subsampling conv4, gives more"
            )
    if recipe.model.frontend.norm == "global" and not recipe.init:
        rows = train_corpus.rows[:: max(1, len(train_corpus.rows) // 500)]
        model.frontend.mean, model.frontend.inv_std = feature_statistics(model.frontend, map(train_corpus.cut, rows))
    task = AEDTask(model, recipe, blank or 0)
    root = fit(task, train_stream, dev_stream, recipe.optim, config, describe(recipe))
    folder = Path(config.out) / "model"
    if root is not None:
        save_model(folder, model, tokenizer, generation, average_checkpoints(root, config.keep, model))
        log.info(f"model folder: {folder}")
    return folder


if __name__ == "__main__":
    run(main)
