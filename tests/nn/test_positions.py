import math

import pytest
import torch

from speech.nn.positions import relative_positions, sinusoid


def test_sine_and_cosine_interleave_with_base_10000():
    table = sinusoid(torch.tensor([0, 1, 7, 400]), 8)
    for row, position in zip(table.tolist(), (0, 1, 7, 400), strict=True):
        for i in range(4):
            angle = position / 10000 ** (2 * i / 8)
            assert row[2 * i] == pytest.approx(math.sin(angle), abs=1e-4)
            assert row[2 * i + 1] == pytest.approx(math.cos(angle), abs=1e-4)


def test_relative_rows_run_from_the_farthest_past_to_the_farthest_future():
    table = relative_positions(4, 8)
    assert table.shape == (7, 8)
    for row, distance in zip(table, range(3, -4, -1), strict=True):
        assert torch.equal(row, sinusoid(torch.tensor([distance]), 8)[0])


def test_no_length_is_too_long():
    table = relative_positions(6000, 4)  # 240 s of 40 ms frames
    assert table.shape == (11999, 4)
    assert torch.equal(table[0], sinusoid(torch.tensor([5999]), 4)[0])
