import gzip
import itertools
import multiprocessing
import os
import time

import numpy as np
import pytest
from lhotse import MonoCut, Recording, SupervisionSegment
from lhotse.audio import AudioSource

from speech.data.asr import ASRStream
from speech.data.bins import Bins, estimate_bins
from speech.data.config import AugmentConfig, DataConfig
from speech.data.corpus import made_for, read_corpus, read_tables, save_tables, table_path
from speech.data.manifests import save_manifest
from speech.data.sources import read_sources
from speech.errors import DataError, SpeechError
from speech.text.tokenizer import Tokenizer

SPEEDS = [0.9, 1.0, 1.1]


def cut(name, seconds, text="one two"):
    recording = Recording(name, [AudioSource("file", [0], "none.wav")], 8000, round(seconds * 8000), seconds)
    said = SupervisionSegment(name, name, 0.0, seconds, text=text)
    return MonoCut(name, 0.0, seconds, 0, recording=recording, supervisions=[said])


@pytest.fixture
def manifest(tmp_path):
    """300 cuts; number 7 says 40 tokens a second, 8 is 31 s long and 9 has 200 words."""
    rng = np.random.default_rng(0)
    cuts = []
    for i in range(300):
        seconds = float(rng.uniform(1, 12))
        cuts.append(cut(f"c{i}", round(seconds, 2), " ".join(["one"] * max(1, int(seconds * rng.uniform(0.7, 1.3))))))
    cuts[7] = cut("c7", 1.5, " ".join(["two"] * 28))
    cuts[8] = cut("c8", 31.0)
    cuts[9] = cut("c9", 20.0, " ".join(["one"] * 200))
    save_manifest(cuts, tmp_path / "cuts.jsonl")
    return tmp_path / "cuts.jsonl"


def config(**values):
    return DataConfig(batch_seconds=60.0, augment=AugmentConfig(speeds=SPEEDS), **values)


@pytest.mark.parametrize("strict", [True, False])
def test_kept_and_left_out_by_reason_are_the_input(manifest, tokenizer, strict):
    everything = read_corpus(manifest, tokenizer, config(), 128)
    d = np.concatenate([everything.seconds[everything.rows] / s for s in SPEEDS])
    bins = estimate_bins(d, np.tile(everything.counts[everything.rows], 3), 6, 2)
    kept = read_corpus(manifest, tokenizer, config(strict=strict), 128, bins, SPEEDS)
    assert len(kept.rows) + sum(n for n, _ in kept.dropped.values()) == 300
    names = {kept.cut(row).id for row in kept.rows}
    assert not names & {"c7", "c8", "c9"}
    assert set(kept.dropped) == {
        "longer than data.max_seconds 30",
        "over model.decoder.max_tokens 128",
        "with more tokens a second than its bin",
    }
    hours = sum(hours for _, hours in kept.dropped.values()) + kept.seconds[kept.rows].sum() / 3600
    assert hours == pytest.approx(everything.seconds.sum() / 3600)
    for speed in SPEEDS:
        assert not bins.faults(kept.seconds[kept.rows] / speed, kept.counts[kept.rows], strict).any()


def test_bins_that_do_not_fit_the_memory_are_left_out(manifest, tokenizer):
    everything = read_corpus(manifest, tokenizer, config(), 128)
    bins = estimate_bins(everything.seconds[everything.rows], everything.counts[everything.rows], 6, 2)
    sizes = [0 if edge == bins.seconds[-1] else 5 for edge, _ in bins.edges]
    kept = read_corpus(manifest, tokenizer, config(), 128, bins, [1.0], sizes)
    assert kept.seconds[kept.rows].max() <= bins.seconds[-2]
    assert "in bins of which not even one cut fits the memory" in kept.dropped
    assert len(kept.rows) + sum(n for n, _ in kept.dropped.values()) == 300


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("epoch", [0, 3])
def test_an_epoch_covers_what_was_kept_on_all_ranks(manifest, tokenizer, monkeypatch, world, epoch):
    import torch.distributed as dist

    corpus = read_corpus(manifest, tokenizer, config(pool_cuts=90), 128)
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: world)
    seen = []
    for rank in range(world):
        monkeypatch.setattr(dist, "get_rank", lambda r=rank: r)
        sampler = ASRStream(corpus, config(pool_cuts=90), 8000, 1, 1, AugmentConfig(speeds=SPEEDS)).make_sampler()
        seen += [row for plan in sampler.epoch(epoch) for row in plan.rows.tolist()]
    assert sorted(seen) == corpus.rows.tolist()


def test_several_manifests_are_drawn_by_weight_and_the_share_is_told(tmp_path, tokenizer):
    for name, count in (("a", 30), ("b", 10)):
        save_manifest([cut(f"{name}{i}", 1.0 + i / 10) for i in range(count)], tmp_path / f"{name}.jsonl")
    (tmp_path / "both.yaml").write_text("sources: [{manifest: a.jsonl, weight: 1}, {manifest: b.jsonl, weight: 1}]")
    corpus = read_corpus(tmp_path / "both.yaml", tokenizer, config(), 128)
    assert "drawn from a.jsonl 50.0 %, b.jsonl 50.0 %" in str(corpus)
    rows, passes = corpus.order(seed=1).epoch(0)
    names = [corpus.cut(row).id for row in rows]
    assert sum(name[0] == "a" for name in names) == sum(name[0] == "b" for name in names) == 20
    assert max(passes[rows >= 30]) == 1, "the small one begins its second pass"
    (tmp_path / "twice.yaml").write_text("sources: [{manifest: a.jsonl}, {manifest: c.jsonl}]")
    save_manifest([cut("a3", 1.0)], tmp_path / "c.jsonl")
    with pytest.raises(DataError, match="the id 'a3' stands in two manifests or shards"):
        read_corpus(tmp_path / "twice.yaml", tokenizer, config(), 128)


def test_stored_tables_are_used_until_manifest_tokenizer_or_prompt_change(manifest, tokenizer, tmp_path, monkeypatch):
    settings = config(bins=str(tmp_path / "bins.json"))
    sources = read_sources(manifest)
    fresh = read_tables(sources, tokenizer, settings)
    save_tables(fresh, sources, tokenizer, settings)
    made = []
    monkeypatch.setattr("speech.data.corpus.make_table", lambda *a: made.append(a) or fresh[0])
    stored = read_tables(sources, tokenizer, settings)[0]
    assert not made
    for name in ("seconds", "keys", "tokens", "starts", "begins", "ends", "lines"):
        assert np.array_equal(getattr(stored, name), getattr(fresh[0], name)), name
    assert stored.cut(5) == fresh[0].cut(5)
    read_tables(sources, tokenizer, config(bins=settings.bins, punctuation=True))
    assert len(made) == 1, "another prompt"
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    read_tables(sources, tokenizer, settings)
    assert len(made) == 2, "another manifest"
    table_path(settings.bins, 0).write_bytes(table_path(settings.bins, 0).read_bytes()[:1000])
    read_tables(sources, tokenizer, settings)
    assert len(made) == 3, "a broken file"


def test_a_compressed_manifest_gives_the_same_table(manifest, tokenizer, tmp_path):
    (tmp_path / "zip.jsonl.gz").write_bytes(gzip.compress(manifest.read_bytes()))
    plain, packed = (read_corpus(p, tokenizer, config(), 128) for p in (manifest, tmp_path / "zip.jsonl.gz"))
    assert np.array_equal(plain.counts, packed.counts) and plain.cut(3) == packed.cut(3)


def test_bins_of_other_settings_are_refused_by_name(manifest, tokenizer, tmp_path):
    bins = estimate_bins(np.array([1.0, 2]), np.array([5, 6]), 1, 1, made_for(tokenizer, config(), 128))
    bins.save(tmp_path / "b.json")
    Bins.load(tmp_path / "b.json", made_for(tokenizer, config(), 128))
    other = Tokenizer.train(["one two three four"], tmp_path / "o.model", 40, byte_fallback=False)
    for changed, named in (
        (made_for(other, config(), 128), "tokenizer was"),
        (made_for(tokenizer, config(max_seconds=9), 128), "data.max_seconds was 30.0, is 9"),
        (made_for(tokenizer, config(), 64), "model.decoder.max_tokens was 128, is 64"),
        (made_for(tokenizer, config(punctuation=True), 128), "data.punctuation was False, is True"),
    ):
        with pytest.raises(SpeechError, match=named):
            Bins.load(tmp_path / "b.json", changed)


def leave(how, manifest, tokenizer):
    stream = ASRStream(
        read_corpus(manifest, tokenizer, config(), 128), config(workers=2), 8000, 1, 100, AugmentConfig(speeds=SPEEDS)
    )
    batches = iter(stream)
    list(itertools.islice(batches, 2))
    if how == "raise":
        raise ValueError
    if how == "delete":
        del batches
    os._exit(0) if how == "exit" else None


@pytest.mark.parametrize("how, code", [("break", 0), ("delete", 0), ("raise", 1), ("exit", 0)])
def test_a_process_that_leaves_in_mid_epoch_ends_at_once(manifest, tokenizer, how, code):
    process = multiprocessing.get_context("fork").Process(target=leave, args=(how, manifest, tokenizer))
    began = time.monotonic()
    process.start()
    process.join(20)
    process.kill()
    assert process.exitcode == code and time.monotonic() - began < 10
