import multiprocessing
import subprocess
import tempfile
import time
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment

from speech.data.asr import ASRStream
from speech.data.config import AugmentConfig, DataConfig
from speech.data.corpus import read_corpus
from speech.data.manifests import load_audio, save_manifest
from speech.errors import DataError

RATE = 8000
PLAIN = AugmentConfig(speeds=[1.0], noise_prob=0.0)


def tone(folder, name, seconds, text, hz=400.0):
    x = (0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)
    sf.write(folder / f"{name}.wav", x, RATE, subtype="FLOAT")
    supervisions = [] if text is None else [SupervisionSegment(name, name, 0.0, seconds, text=text)]
    recording = Recording.from_file(folder / f"{name}.wav", recording_id=name)
    return MonoCut(name, 0.0, seconds, 0, recording=recording, supervisions=supervisions)


@pytest.fixture(scope="module")
def cuts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tones")
    texts = ("one", "two two", "three one two", "one two three one")
    return CutSet.from_cuts([tone(folder, f"c{i}", 0.2 + 0.05 * i, texts[i % 4], 300 + 50 * i) for i in range(12)])


@pytest.fixture
def config():
    return DataConfig(batch_seconds=1.5, quadratic_seconds=0.0, pool_cuts=5)


def corpus_of(cuts, tokenizer, config, max_tokens=64):
    with tempfile.TemporaryDirectory() as folder:
        save_manifest(cuts, Path(folder) / "cuts.jsonl")
        return read_corpus(Path(folder) / "cuts.jsonl", tokenizer, config, max_tokens)


def stream(cuts, tokenizer, config, total=12, augment: AugmentConfig | None = AugmentConfig(), seed=1):  # noqa: B008
    return ASRStream(corpus_of(cuts, tokenizer, config), config, RATE, seed, total, augment)


def same(a, b) -> bool:
    pairs = [(getattr(a, f.name), getattr(b, f.name)) for f in fields(a)]
    return all(torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y for x, y in pairs)


def test_a_batch_is_the_cuts_padded_with_zeros(cuts, tokenizer, config):
    by_id = {cut.id: cut for cut in cuts}
    head = [tokenizer.special(f"<|{n}|>") for n in ("startoftranscript", "en", "transcribe", "en", "nopnc")]
    for batch in stream(cuts, tokenizer, config, augment=None):
        assert batch.waveforms.shape == (len(batch.ids), int(batch.waveform_lengths.max()))
        assert batch.tokens.shape == (len(batch.ids), int(batch.token_lengths.max()))
        for row, name in enumerate(batch.ids):
            n, u = int(batch.waveform_lengths[row]), int(batch.token_lengths[row])
            assert np.array_equal(batch.waveforms[row, :n].numpy(), load_audio(by_id[name], RATE))
            assert not batch.waveforms[row, n:].any() and not batch.tokens[row, u:].any()
            text = tokenizer.encode(by_id[name].supervisions[0].text)
            assert batch.tokens[row, :u].tolist() == [*head, *text, tokenizer.eos_id]
            assert int(batch.prompt_lengths[row]) == 5


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_change_nothing(cuts, tokenizer, config, workers):
    alone = list(stream(cuts, tokenizer, config))
    helped = list(stream(cuts, tokenizer, replace(config, workers=workers)))
    assert len(alone) == len(helped) == 12
    assert all(same(a, b) for a, b in zip(alone, helped, strict=True))
    assert len({batch.place[0] for batch in alone}) > 1


def test_a_stream_goes_on_at_any_batch(cuts, tokenizer, config):
    whole = list(stream(cuts, tokenizer, config))
    for consumed in range(13):
        rest = stream(cuts, tokenizer, config)
        last = whole[consumed - 1] if consumed else None
        epoch, pool, index = last.place if last else (0, 0, -1)
        rest.start, rest.consumed = (epoch, pool, index + 1), consumed
        assert all(same(a, b) for a, b in zip(whole[consumed:], rest, strict=True))


def test_a_position_past_a_shorter_epoch_is_the_next_epoch(cuts, tokenizer, config):
    rest = stream(cuts, tokenizer, config)
    rest.start, rest.consumed = (4, 9, 99), 10
    assert [batch.place for batch in rest] == [(5, 0, 0), (5, 0, 1)]


def test_dev_is_one_pass_without_augmentation(cuts, tokenizer, config):
    dev = stream(cuts, tokenizer, config, total=None, augment=None)
    first, second = list(dev), list(dev)
    assert len(dev) == len(first) and sorted(sum((b.ids for b in first), [])) == sorted(cut.id for cut in cuts)
    assert all(same(a, b) for a, b in zip(first, second, strict=True))


def test_making_batches_leaves_the_global_randomness_alone(cuts, tokenizer, config):
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    list(stream(cuts, tokenizer, config, total=4))
    assert torch.equal(torch.get_rng_state(), before[0]) and np.random.get_state()[1].tolist() == before[1]


def test_the_first_epochs_hold_the_short_cuts_only(cuts, tokenizer, config):
    limit = sorted(cut.duration for cut in cuts)[len(cuts) // 3]
    short = {cut.id for cut in cuts if cut.duration <= limit}
    batches = list(stream(cuts, tokenizer, replace(config, short_epochs=2, short_seconds=limit), total=40))
    by_epoch = {}
    for batch in batches:
        by_epoch.setdefault(batch.place[0], []).extend(batch.ids)
    assert sorted(by_epoch[0]) == sorted(by_epoch[1]) == sorted(short) and by_epoch[0] != by_epoch[1]
    usual = [b.ids for b in stream(cuts, tokenizer, config, total=40) if b.place[0] == 2]
    assert [b.ids for b in batches if b.place[0] == 2][: len(usual)] == usual[: len(batches)]
    dev = stream(cuts, tokenizer, replace(config, short_epochs=2, short_seconds=limit), total=None, augment=None)
    assert len(sum((b.ids for b in dev), [])) == len(cuts)
    with pytest.raises(DataError, match=r"no cut is within data.short_seconds 0.01"):
        stream(cuts, tokenizer, replace(config, short_epochs=1, short_seconds=0.01))


def test_augmentation_is_a_function_of_seed_epoch_and_id(cuts, tokenizer, config):
    def waveforms(augment=AugmentConfig(), seed=1):  # noqa: B008
        batches = stream(cuts, tokenizer, config, 30, augment, seed)
        rows = {}
        for b in batches:
            rows |= {(b.place[0], name): b.waveforms[i, : b.waveform_lengths[i]] for i, name in enumerate(b.ids)}
        return rows

    a, b, other = waveforms(), waveforms(), waveforms(seed=2)
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not all(torch.equal(a[key], other[key]) for key in a.keys() & other.keys())
    assert not all(torch.equal(a[0, cut.id], a[1, cut.id]) for cut in cuts)
    for augment in (AugmentConfig(noise_prob=0.0), AugmentConfig(speeds=[1.0, 1.1], tempos=[0.5, 1.0], noise_prob=0.0)):
        paced = waveforms(augment)
        lengths = {len(x) / (next(c for c in cuts if c.id == name).duration * RATE) for (_, name), x in paced.items()}
        assert {round(x, 2) for x in lengths} == {round(1 / pace, 2) for pace in augment.paces}


def test_batches_are_as_long_as_the_sampler_was_told(cuts, tokenizer, config):
    told = stream(cuts, tokenizer, config, 30, AugmentConfig(speeds=[0.9, 1.1], tempos=[0.5, 1.0, 2.0]))
    for plan in islice(told.make_sampler(), 30):
        seconds, tokens = told.lengths(plan.rows, plan.passes)
        batch = told[plan]
        assert batch.waveform_lengths.numpy() / RATE == pytest.approx(seconds, abs=1.5 / RATE)
        assert batch.token_lengths.tolist() == tokens.tolist()


def test_noise_comes_from_the_manifest_at_the_ratio(cuts, tokenizer, config, tmp_path):
    augment = AugmentConfig(speeds=[1.0], noise_prob=1.0, noise_snr_db=(10.0, 10.0))
    noisy = stream(cuts, tokenizer, config, 4, augment)
    noisy.noises = [tone(tmp_path, "hum", 2.0, None, hz=3000.0)]
    by_id = {cut.id: cut for cut in cuts}
    for batch in noisy:
        for row, name in enumerate(batch.ids):
            clean = load_audio(by_id[name], RATE)
            added = batch.waveforms[row, : len(clean)].numpy() - clean
            assert 10 * np.log10(np.mean(clean**2) / np.mean(added**2)) == pytest.approx(10.0, abs=0.05)
            spectrum = np.abs(np.fft.rfft(added * np.hanning(len(added))))
            assert spectrum.argmax() * RATE / len(added) == pytest.approx(3000.0, abs=10.0)


def test_a_signal_of_another_process_does_not_end_the_loaders(cuts, tokenizer, config):
    batches = iter(stream(cuts, tokenizer, replace(config, workers=1)))
    seen = [next(batches)]
    children = multiprocessing.active_children()
    assert children
    for child in children:  # from a process that is not their parent
        subprocess.run(["kill", "-TERM", str(child.pid)], check=True)
        subprocess.run(["kill", "-USR1", str(child.pid)], check=True)
    time.sleep(0.1)
    seen += list(batches)
    assert len(seen) == 12


def test_the_trainer_ends_its_loaders(cuts, tokenizer, config):
    batches = iter(stream(cuts, tokenizer, replace(config, workers=1)))
    next(batches)
    (child,) = multiprocessing.active_children()
    child.terminate()
    child.join(5)
    assert child.exitcode == 0


@pytest.mark.parametrize("text, named", [("one £ two ß", "cut bad: .*'£' .*'ß'"), (None, "cut bad: no supervision")])
def test_a_transcript_that_cannot_be_learned_names_its_line_and_cut(cuts, tokenizer, config, tmp_path, text, named):
    bad = CutSet.from_cuts([*cuts, tone(tmp_path, "bad", 0.2, text)])
    with pytest.raises(DataError, match=f"cuts.jsonl, line 13: {named}") as error:
        corpus_of(bad, tokenizer, config)
    assert "\n" not in str(error.value)


def test_what_the_limits_leave_out_is_counted_by_reason(cuts, tokenizer, config):
    corpus = corpus_of(cuts, tokenizer, replace(config, max_seconds=0.5))
    kept = [cut.id for cut in cuts if cut.duration <= 0.5]
    assert [corpus.cut(row).id for row in corpus.rows] == kept and len(kept) < 12
    hours = sum(cut.duration for cut in cuts if cut.duration > 0.5) / 3600
    assert corpus.dropped == {"longer than data.max_seconds 0.5": (12 - len(kept), pytest.approx(hours))}
    assert f"left out {12 - len(kept)} (0.00 h) longer than data.max_seconds 0.5" in str(corpus)
    counts = corpus_of(cuts, tokenizer, config).counts
    fewer = corpus_of(cuts, tokenizer, config, max_tokens=max(counts) - 1)
    over = {f"over model.decoder.max_tokens {max(counts) - 1}": sum(counts == max(counts))}
    assert {reason: n for reason, (n, _) in fewer.dropped.items()} == over
    with pytest.raises(DataError, match="no cut is left; 12 longer than data.max_seconds 0.1"):
        corpus_of(cuts, tokenizer, replace(config, max_seconds=0.1))


def test_lengths_before_sampling_are_those_of_the_batch(cuts, tokenizer, config):
    batches = stream(cuts, tokenizer, config, 30)
    sampler = batches.make_sampler()
    for plan, batch in zip(sampler, batches, strict=False):
        seconds, tokens = batches.lengths(plan.rows, plan.passes)
        assert np.allclose(batch.waveform_lengths / RATE, seconds, atol=1e-3) and batch.token_lengths.tolist() == list(
            tokens
        )
        assert len(batch.ids) * seconds.max() <= 1.5 + 1e-9


def test_lost_audio_is_left_out_and_told(tokenizer, config, tmp_path):
    there = [tone(tmp_path, f"c{i}", 0.3, "one") for i in range(6)]
    batches = stream(there, tokenizer, config, 12, PLAIN)
    (tmp_path / "c2.wav").unlink()
    (tmp_path / "c4.wav").write_bytes(b"")
    seen = list(batches)
    lost = [what for batch in seen for what in batch.lost]
    assert {what.split(":")[0] for what in lost} == {"c2", "c4"} and all("c2.wav" in w or "c4.wav" in w for w in lost)
    assert {name for batch in seen for name in batch.ids} - {"silence"} == {"c0", "c1", "c3", "c5"}
    for i in range(6):
        (tmp_path / f"c{i}.wav").unlink(missing_ok=True)
    for batch in stream(there, tokenizer, config, 3, PLAIN):
        assert batch.ids == ["silence"] and not batch.waveforms.any() and batch.waveforms.shape == (1, RATE)
        assert batch.tokens.shape == (1, 6) and int(batch.tokens[0, -1]) == tokenizer.eos_id
