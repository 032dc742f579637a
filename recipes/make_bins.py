"""Make the 2D bins of a training manifest: equal audio in each, cut by token counts, with a report and a picture."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from speech.config import require
from speech.training.config import AEDRecipe
from speech.training.settings import parse_recipe


@dataclass
class BinsRecipe(AEDRecipe):
    """The settings of the training, and how many bins."""

    buckets: int = 30
    """bins of equal audio"""
    sub_buckets: int = 2
    """bins of equal tokens in each of them"""


def main(argv: Sequence[str] | None = None) -> None:
    argv = list(argv or [])
    if argv and not argv[0].startswith("-"):
        argv = ["--data.train", *argv]
    recipe = parse_recipe(BinsRecipe, argv, "speech data bins MANIFEST", "Write data.bins for the manifest data.train.")
    data = recipe.data
    require(recipe, "data.train", "data.tokenizer", "data.bins")

    import numpy as np

    from speech.data.asr import ASRStream
    from speech.data.bins import estimate_bins
    from speech.data.corpus import made_for, read_corpus, read_tables, save_tables
    from speech.data.padding import Padding, padding_of
    from speech.data.plots import plot_bins
    from speech.data.sources import read_sources
    from speech.text.load import load_tokenizer

    tokenizer, limit, paces = load_tokenizer(data.tokenizer), recipe.model.decoder.max_tokens, data.augment.paces
    sources = read_sources(data.train)
    tables = read_tables(sources, tokenizer, data)
    everything = read_corpus(data.train, tokenizer, data, limit, tables=tables)
    seconds = np.concatenate([everything.seconds[everything.rows] / pace for pace in paces])
    counts = np.tile(everything.counts[everything.rows], len(paces))
    bins = estimate_bins(seconds, counts, recipe.buckets, recipe.sub_buckets, made_for(tokenizer, data, limit))
    kept = read_corpus(data.train, tokenizer, data, limit, bins, paces, tables=tables)
    bins.report.update(cuts=len(kept.rows), hours=kept.seconds[kept.rows].sum() / 3600, left_out=kept.dropped)
    out = Path(data.bins)
    bins.save(out)
    save_tables(tables, sources, tokenizer, data)
    print(f"{data.train}: {kept}")
    print(f"{out}: {len(bins.edges)} bins up to {bins.seconds[-1]} s and {bins.edges[-1][1]} tokens")
    stream = ASRStream(kept, replace(data, short_epochs=0), 1, recipe.train.seed, 1, data.augment)
    by_bin = [Padding() for _ in bins.edges]
    for plan in stream.make_sampler().epoch(0):
        d, u = stream.lengths(plan.rows, plan.passes)
        by_bin[int(bins.covering(d.max(keepdims=True), u.max(keepdims=True))[0])] += padding_of([(d, u)])
    picture = out.with_suffix(".png")
    plot_bins(bins, seconds, counts, by_bin, picture)
    print(f"{picture}: one epoch as it will be drawn: {sum(by_bin, Padding())}")
