import math

import numpy as np
import pytest

from speech.tts_metrics import (
    attention_jumps,
    cepstra,
    difference_interval,
    duration_error_ms,
    focus_rate,
    mel_cepstral_distortion,
    pitch_errors,
    read_back,
    reading_head,
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
    assert errors["rmse_cents"] == pytest.approx(math.sqrt((100**2 + 100**2 + 200**2) / 3))
    assert errors["voicing_error"] == pytest.approx(1 / 5)
    assert errors["gross_error"] == 0 and errors["frame_error"] == errors["voicing_error"]
    nothing = pitch_errors(np.zeros(2), np.zeros(2), np.array([[0, 0], [1, 1]]))
    assert nothing["rmse_cents"] is None and nothing["voicing_error"] == 0 == nothing["frame_error"]


def test_gross_pitch_errors():
    reference = np.array([100.0, 100, 100, 100, 0, 100])
    found = np.array([119.0, 121, 79, 81, 100, 0])
    errors = pitch_errors(reference, found, np.repeat(np.arange(6), 2).reshape(6, 2))
    assert errors["gross_error"] == 2 / 4 and errors["voicing_error"] == 2 / 6 and errors["frame_error"] == 4 / 6


def test_duration_error_in_milliseconds():
    assert duration_error_ms(np.array([3, 5, 1]), np.array([4, 5, 3]), 0.01) == pytest.approx(10.0)


def test_focus_rate_per_head():
    heads = np.stack([np.eye(4), np.full((4, 4), 0.25)])
    assert focus_rate(heads).tolist() == [1.0, 0.25]


def test_jumps_of_attention():
    assert attention_jumps(np.eye(7)) == 0
    looks = [0, 5, 2, 8, 4, 10]  # forward 5 and back 3 are allowed; +6, -4 and +6 are not
    assert attention_jumps(np.eye(12)[looks]) == 3


def test_a_stuck_head_does_not_read():
    stuck, vague, reading = np.eye(5)[[2] * 5], np.full((5, 5), 0.2), 0.8 * np.eye(5) + 0.04
    heads = np.stack([stuck, vague, reading, vague]).reshape(2, 2, 5, 5)
    assert focus_rate(heads).argmax() == 0
    np.testing.assert_array_equal(reading_head(heads), reading)


def test_interval_of_a_difference():
    tokens = RNG.integers(3, 9, size=400)
    ours, theirs = RNG.binomial(tokens, 0.3), RNG.binomial(tokens, 0.1)
    low, high = difference_interval(ours, theirs, tokens)
    assert (low, high) == difference_interval(ours, theirs, tokens)
    assert (low, high) != difference_interval(ours, theirs, tokens, seed=1)
    middle = (ours.sum() - theirs.sum()) / tokens.sum()
    assert low < middle < high and 0.14 < low and high < 0.26
    assert high - low == pytest.approx(3.92 * np.std((ours - theirs) - middle * tokens) / 20 / tokens.mean(), rel=0.05)
    assert difference_interval(ours, ours, tokens) == (0, 0)
    assert difference_interval(theirs, ours, tokens) == pytest.approx((-high, -low))


def test_what_is_read_back():
    texts = ["one two three", "four", "five six"]
    heard = {
        "recording": ["one two three", "four", "five six"],
        "copy": ["one two three", "for", "five six"],
        "synthesis": ["one three", "for", "five six six"],
    }
    found = read_back(texts, heard)
    assert found["recording"]["wer"] == found["recording"]["cer"] == 0 and found["recording"]["right"] == 1
    assert found["synthesis"] == {
        "wer": 3 / 6, "substitutions": 1, "deletions": 1, "insertions": 1, "words": 6, "right": 0, "cer": 7 / 22
    }  # fmt: skip
    less = found["synthesis_minus_copy"]
    assert less["wer"] == pytest.approx(3 / 6 - 1 / 6) and less["cer"] == pytest.approx(6 / 22)
    assert less["wer_interval"] == list(difference_interval([1, 1, 1], [0, 1, 0], [3, 1, 2]))
    assert less["cer_interval"] == list(difference_interval([3, 1, 3], [0, 1, 0], [11, 4, 7]))
