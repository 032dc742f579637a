import math

import numpy as np
import pytest

from speech.tts_metrics import (
    cepstra,
    duration_error_ms,
    focus_rate,
    mel_cepstral_distortion,
    pitch_errors,
    share_near_path,
)

RNG = np.random.default_rng(0)
MEL = RNG.normal(size=(30, 80)).cumsum(0)


def test_cepstra_are_their_sum():
    k = np.arange(80)
    for n in (1, 13):
        basis = math.sqrt(2 / 80) * np.cos(math.pi * n * (2 * k + 1) / 160)
        np.testing.assert_allclose(cepstra(MEL)[:, n - 1], math.sqrt(2 / 80) * MEL @ basis)
    assert cepstra(MEL).shape == (30, 13)
    np.testing.assert_allclose(cepstra(MEL + 3.0), cepstra(MEL), atol=1e-12)  # loudness is cepstrum 0


def test_distortion_of_one_moved_cepstrum():
    """exp(c) with c moved by d in one cepstrum: (10 / ln 10) sqrt(2) d decibels."""
    k = np.arange(80)
    moved = MEL + 0.3 * np.cos(math.pi * 4 * (2 * k + 1) / 160)
    steady = np.tile(MEL[:1], (30, 1))
    value, _ = mel_cepstral_distortion(steady, steady + moved - MEL)
    assert value == pytest.approx(10 / math.log(10) * math.sqrt(2) * 0.3)


def test_time_is_warped_away():
    slow = np.repeat(MEL, 3, 0)
    value, path = mel_cepstral_distortion(MEL, slow)
    assert value == pytest.approx(0, abs=1e-9)
    assert path[0].tolist() == [0, 0] and path[-1].tolist() == [29, 89]
    assert (path[:, 1] // 3 == path[:, 0]).all() and (np.diff(path, axis=0) >= 0).all()


def test_pitch_errors_along_a_path():
    reference = np.array([0.0, 100, 100, 200, np.nan])
    found = np.array([50.0, 100 * 2 ** (100 / 1200), 200 * 2 ** (-200 / 1200), 0.0])
    path = np.array([[0, 0], [1, 1], [2, 1], [3, 2], [4, 3]])
    errors = pitch_errors(reference, found, path)
    assert errors.rmse_cents == pytest.approx(math.sqrt((100**2 + 100**2 + 200**2) / 3))
    assert errors.voicing_error == pytest.approx(1 / 5)
    nothing = pitch_errors(np.zeros(2), np.zeros(2), np.array([[0, 0], [1, 1]]))
    assert math.isnan(nothing.rmse_cents) and nothing.voicing_error == 0


def test_duration_error_in_milliseconds():
    assert duration_error_ms(np.array([3, 5, 1]), np.array([4, 5, 3]), 0.01) == pytest.approx(10.0)


def test_focus_rate_per_head():
    heads = np.stack([np.eye(4), np.full((4, 4), 0.25)])
    assert focus_rate(heads).tolist() == [1.0, 0.25]


def test_share_near_path():
    path = np.array([0, 0, 1, 2, 3, 4])
    attention = np.eye(5)[[0, 1, 3, 2, 1, 4]]
    assert share_near_path(attention, path) == pytest.approx(4 / 6)
    assert share_near_path(attention, path, tokens=0) == pytest.approx(3 / 6)
    assert share_near_path(np.stack([attention] * 2), path).shape == (2,)
