import pytest
import torch

from speech.models.length_regulator import (
    regulate,
    scaled_durations,
    stretched,
    whole_durations,
)

close = torch.testing.assert_close
PAPER = torch.tensor([[2, 2, 3, 1]])


@pytest.mark.parametrize(("scale", "expected"), [(1.0, [2, 2, 3, 1]), (1.3, [3, 3, 4, 1]), (0.5, [1, 1, 2, 1])])
def test_the_example_of_the_paper(scale, expected):
    h = torch.randn(1, 4, 5)
    y, lengths = regulate(h, scaled_durations(PAPER, scale))
    close(y[0], h[0].repeat_interleave(torch.tensor(expected), 0))
    assert lengths.tolist() == [sum(expected)]


def test_a_batch_is_repeated_row_by_row():
    h, durations = torch.randn(3, 6, 4), torch.tensor([[1, 0, 5, 2, 0, 0], [0, 3, 1, 1, 1, 9], [1, 1, 0, 0, 0, 0]])
    y, lengths = regulate(h, durations)
    assert y.shape == (3, 15, 4) and lengths.tolist() == [8, 15, 2]
    for i, n in enumerate(lengths):
        close(y[i, :n], h[i].repeat_interleave(durations[i], 0))


def test_no_phoneme_is_scaled_away_and_none_appears():
    durations = torch.tensor([[1, 0, 7, 2]])
    assert scaled_durations(durations, 0.1).tolist() == [[1, 0, 1, 1]]
    scale = torch.tensor([[1.0, 3.0, 2.5, 1.0]])
    assert scaled_durations(durations, scale).tolist() == [[1, 0, 18, 2]]


def test_whole_durations_keep_the_sum_and_every_phoneme():
    frames = torch.rand(50, 40) * 6
    frames[:, 30:] = 0
    whole = whole_durations(frames)
    at_least_one = torch.where(frames > 0, frames.clamp_min(1), 0)
    assert ((whole >= 1) == (frames > 0)).all()
    assert ((whole - at_least_one).abs() < 1 + 1e-4).all()
    assert ((whole.sum(1) - at_least_one.sum(1)).abs() <= 0.5 + 1e-4).all()
    assert whole_durations(torch.full((1, 1000), 2.4)).sum() == 2400  # plain rounding: 2000


def test_a_mel_is_drawn_out_phoneme_by_phoneme():
    durations = torch.tensor([[4, 2, 0, 6], [3, 5, 0, 0]])
    mel = torch.zeros(2, 12, 2)
    for row, of in enumerate(durations):
        mel[row, : int(of.sum())] = torch.arange(4.0).repeat_interleave(of)[:, None]
    close(stretched(mel, durations, durations), mel)
    new = torch.tensor([[8, 1, 0, 3], [6, 2, 0, 0]])
    found = stretched(mel, durations, new)
    assert found.shape == (2, 12, 2) and (found[1, 8:] == 0).all()
    for row, of in enumerate(new):  # but for the frames that lie on an edge
        wanted = torch.arange(4.0).repeat_interleave(of)
        assert (found[row, : len(wanted), 0] - wanted).abs().lt(1e-5).float().mean() > 0.7


def test_a_ramp_stays_a_ramp_when_all_is_drawn_out_alike():
    durations = torch.tensor([[2, 3, 5]])
    ramp = torch.arange(10.0)[None, :, None]
    found = stretched(ramp, durations, 2 * durations)[0, :, 0]
    close(found, ((torch.arange(20) + 0.5) / 2 - 0.5).clamp(0, 9))
