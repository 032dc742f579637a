import numpy as np
import pytest

from speech.data.augment import change_speed, change_tempo, draw, example_rng, mix_noise, spec_augment_masks

RATE = 8000


def test_randomness_is_a_function_of_seed_epoch_and_id():
    draw = [example_rng(*key).standard_normal(4).tobytes() for key in [(1, 0, "a"), (1, 0, "a")]]
    assert draw[0] == draw[1]
    others = [(2, 0, "a"), (1, 1, "a"), (1, 0, "b"), (1, 0, "a/spec")]
    assert len({example_rng(*key).standard_normal(4).tobytes() for key in others} | {draw[0]}) == 5


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.1])
def test_speed_changes_length_and_pitch_by_the_factor(factor):
    x = np.sin(2 * np.pi * 500 * np.arange(2 * RATE) / RATE).astype(np.float32)
    y = change_speed(x, factor, RATE)
    assert abs(len(y) - len(x) / factor) <= 1 and y.dtype == np.float32
    spectrum = np.abs(np.fft.rfft(y * np.hanning(len(y))))
    assert abs(spectrum.argmax() * RATE / len(y) - 500 * factor) < 1.0


@pytest.mark.parametrize("factor", [0.5, 0.75, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("samples", [10, 4 * RATE])
def test_tempo_changes_length_alone(factor, samples):
    x = np.sin(2 * np.pi * 500 * np.arange(samples) / RATE).astype(np.float32)
    y = change_tempo(x, factor, RATE)
    assert abs(len(y) - len(x) / factor) <= 1 and y.dtype == np.float32
    if samples > RATE:
        spectrum = np.abs(np.fft.rfft(y * np.hanning(len(y))))
        assert abs(spectrum.argmax() * RATE / len(y) - 500) < 1.0


def test_speed_and_tempo_are_drawn_evenly_and_apart():
    keys = np.random.default_rng(0).integers(0, 2**63, 6000).astype(np.uint64)
    speeds, tempos = (draw(what, 1, np.zeros(6000, int), keys, [0.5, 1.0, 2.0]) for what in ("speed", "tempo"))
    pairs, counts = np.unique(np.stack([speeds, tempos]), axis=1, return_counts=True)
    assert pairs.shape == (2, 9) and abs(counts - 6000 / 9).max() < 5 * np.sqrt(6000 / 9)


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0])
@pytest.mark.parametrize("noise_samples", [100, 4000, 9000])
def test_the_noise_has_the_asked_ratio_to_the_speech(snr_db, noise_samples):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(4000).astype(np.float32) * 0.1
    noise = rng.standard_normal(noise_samples).astype(np.float32) * 3
    added = mix_noise(x, noise, snr_db) - x
    assert 10 * np.log10(np.mean(x**2) / np.mean(added**2)) == pytest.approx(snr_db, abs=0.01)


def test_silence_stays_as_it_is():
    x, silence = np.ones(10, np.float32), np.zeros(10, np.float32)
    assert np.array_equal(mix_noise(x, silence, 0.0), x) and np.array_equal(mix_noise(silence, x, 0.0), silence)


def runs(hidden: np.ndarray) -> list[int]:
    """Lengths of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], hidden.astype(int), [0]])))
    return list(edges[1::2] - edges[::2])


def test_one_mask_is_a_band_within_its_width():
    for bins_masked, freq, time in [(True, (1, 6), (0, 0)), (False, (0, 0), (1, 8))]:
        rngs = [example_rng(0, 0, str(i)) for i in range(200)]
        keep = spec_augment_masks(rngs, [50] * 200, 20, freq, time).numpy()
        hidden = ~keep[:, 0] if bins_masked else ~keep[:, :, 0]
        lengths = [sum(runs(row)) for row in hidden]
        assert all(len(runs(row)) <= 1 for row in hidden)
        assert set(lengths) == set(range((6 if bins_masked else 8) + 1)), "every width up to the limit occurs"
        whole = keep.all(1, keepdims=True) if bins_masked else keep.all(2, keepdims=True)
        assert np.array_equal(np.broadcast_to(whole, keep.shape), keep), "a mask hides whole bins or whole frames"


@pytest.mark.parametrize("freq, time", [((2, 6), (2, 8)), ((2, 27), (10, 100)), ((8, 80), (1, 1000)), ((0, 0), (3, 1))])
def test_masks_never_hide_everything(freq, time):
    frames = [1, 2, 3, 4, 7, 20, 100]
    for epoch in range(100):
        keep = spec_augment_masks([example_rng(0, epoch, str(n)) for n in frames], frames, 20, freq, time)
        assert keep.shape == (7, 100, 20)
        for row, n in zip(keep, frames, strict=True):
            assert row[:n].any(1).sum() >= n / 2, "half of the frames are left"
            assert row[:n].any()


def test_no_masks_hide_nothing():
    assert spec_augment_masks([example_rng(0, 0, "a")], [9], 5, (0, 5), (0, 5)).all()
