import multiprocessing
import os
import signal
from dataclasses import fields, replace

import numpy as np
import pytest
import soundfile as sf
import torch
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment

from speech.data.asr import ASRStream, tokenize
from speech.data.config import AugmentConfig, DataConfig
from speech.data.manifests import load_audio
from speech.errors import DataError
from speech.text.tokenizer import Tokenizer

RATE = 8000
PLAIN = AugmentConfig(speeds=[1.0], noise_prob=0.0)


def tone(folder, name, seconds, text, hz=400.0):
    x = (0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)
    sf.write(folder / f"{name}.wav", x, RATE, subtype="FLOAT")
    supervisions = [] if text is None else [SupervisionSegment(name, name, 0.0, seconds, text=text)]
    recording = Recording.from_file(folder / f"{name}.wav", recording_id=name)
    return MonoCut(name, 0.0, seconds, 0, recording=recording, supervisions=supervisions)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return Tokenizer.train(["one two three"], tmp_path_factory.mktemp("t") / "t.model", 40, byte_fallback=False)


@pytest.fixture(scope="module")
def cuts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tones")
    texts = ("one", "two two", "three one two", "one two three one")
    return CutSet.from_cuts([tone(folder, f"c{i}", 0.2 + 0.05 * i, texts[i % 4], 300 + 50 * i) for i in range(12)])


@pytest.fixture
def config():
    return DataConfig(batch_seconds=1.5, buckets=2)


def stream(cuts, tokenizer, config, total=12, augment: AugmentConfig | None = AugmentConfig(), seed=1):  # noqa: B008
    return ASRStream(tokenize(cuts, tokenizer, config, 64), config, RATE, seed, total, augment)


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


def test_workers_change_nothing(cuts, tokenizer, config):
    alone = list(stream(cuts, tokenizer, config))
    helped = list(stream(cuts, tokenizer, replace(config, workers=2)))
    assert len(alone) == len(helped) == 12
    assert all(same(a, b) for a, b in zip(alone, helped, strict=True))
    assert len({batch.epoch for batch in alone}) > 1


def test_a_stream_goes_on_at_any_batch(cuts, tokenizer, config):
    whole = list(stream(cuts, tokenizer, config))
    for consumed in range(13):
        rest = stream(cuts, tokenizer, config)
        last = whole[consumed - 1] if consumed else None
        rest.start, rest.consumed = (last.epoch, last.index + 1) if last else (0, 0), consumed
        assert all(same(a, b) for a, b in zip(whole[consumed:], rest, strict=True))


def test_a_position_past_a_shorter_epoch_is_the_next_epoch(cuts, tokenizer, config):
    rest = stream(cuts, tokenizer, config)
    rest.start, rest.consumed = (4, 99), 10
    assert [(batch.epoch, batch.index) for batch in rest] == [(5, 0), (5, 1)]


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
        by_epoch.setdefault(batch.epoch, []).extend(batch.ids)
    assert sorted(by_epoch[0]) == sorted(by_epoch[1]) == sorted(short) and by_epoch[0] != by_epoch[1]
    usual = [b.ids for b in stream(cuts, tokenizer, config, total=40) if b.epoch == 2]
    assert [b.ids for b in batches if b.epoch == 2][: len(usual)] == usual[: len(batches)]
    dev = stream(cuts, tokenizer, replace(config, short_epochs=2, short_seconds=limit), total=None, augment=None)
    assert len(sum((b.ids for b in dev), [])) == len(cuts)
    with pytest.raises(DataError, match=r"no cut is within data.short_seconds 0.01"):
        stream(cuts, tokenizer, replace(config, short_epochs=1, short_seconds=0.01))


def test_augmentation_is_a_function_of_seed_epoch_and_id(cuts, tokenizer, config):
    def waveforms(augment=AugmentConfig(), seed=1):  # noqa: B008
        batches = stream(cuts, tokenizer, config, 30, augment, seed)
        rows = {}
        for b in batches:
            rows |= {(b.epoch, name): b.waveforms[i, : b.waveform_lengths[i]] for i, name in enumerate(b.ids)}
        return rows

    a, b, other = waveforms(), waveforms(), waveforms(seed=2)
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not all(torch.equal(a[key], other[key]) for key in a.keys() & other.keys())
    assert not all(torch.equal(a[0, cut.id], a[1, cut.id]) for cut in cuts)
    quarter = waveforms(AugmentConfig(speeds=[0.9, 1.0, 1.1], noise_prob=0.0))
    lengths = {len(x) / (next(c for c in cuts if c.id == name).duration * RATE) for (_, name), x in quarter.items()}
    assert {round(x, 2) for x in lengths} == {round(1 / 0.9, 2), 1.0, round(1 / 1.1, 2)}


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


def test_a_signal_to_the_whole_group_does_not_end_the_loaders(cuts, tokenizer, config):
    batches = iter(stream(cuts, tokenizer, replace(config, workers=1)))
    seen = [next(batches)]
    children = multiprocessing.active_children()
    assert children
    for child in children:
        os.kill(child.pid, signal.SIGTERM)
        os.kill(child.pid, signal.SIGUSR1)
    seen += list(batches)
    assert len(seen) == 12


@pytest.mark.parametrize("text, named", [("one £ two ß", "cut bad: .*'£' .*'ß'"), (None, "cut bad: no supervision")])
def test_a_transcript_that_cannot_be_learned_names_its_cut(cuts, tokenizer, config, tmp_path, text, named):
    bad = CutSet.from_cuts([*cuts, tone(tmp_path, "bad", 0.2, text)])
    with pytest.raises(DataError, match=named) as error:
        tokenize(bad, tokenizer, config, 64)
    assert "\n" not in str(error.value)


def test_long_cuts_are_left_out_and_counted(cuts, tokenizer, config):
    data = tokenize(cuts, tokenizer, replace(config, max_seconds=0.5), 64)
    kept = [cut.id for cut in cuts if cut.duration <= 0.5]
    assert list(data.tokens) == [cut.id for cut in data.cuts] == kept and data.dropped == 12 - len(kept) > 0
    with pytest.raises(DataError, match="data.max_seconds 0.1: 12 were left out"):
        tokenize(cuts, tokenizer, replace(config, max_seconds=0.1), 64)


def test_a_text_over_the_decoder_is_refused_with_limit_and_setting(cuts, tokenizer, config):
    lengths = [len(ids) for ids in tokenize(cuts, tokenizer, config, 64).tokens.values()]
    longest = max(lengths)
    tokenize(cuts, tokenizer, config, longest)
    with pytest.raises(DataError) as error:
        tokenize(cuts, tokenizer, config, longest - 1)
    over = sum(n == longest for n in lengths)
    expected = f"has {longest} tokens with prompt and end, the decoder takes {longest - 1} ({over} such cuts). Raise "
    assert expected + "model.decoder.max_tokens" in str(error.value) and "\n" not in str(error.value)
