import pytest
import torch

from speech.nn.conv import Conv4


@pytest.mark.parametrize(
    ("frames", "out", "ceil", "trt"),
    [(98, 25, 25, 23), (99, 25, 25, 24), (100, 25, 25, 24), (101, 26, 26, 24), (137, 35, 35, 33), (67, 17, 17, 16)],
)
def test_valid_frames_by_both_rules(frames, out, ceil, trt):
    for rule, valid in (("ceil", ceil), ("trt", trt)):
        y, lengths = Conv4(80, 2, 8, rule)(torch.zeros(1, frames, 80), torch.tensor([frames]))
        assert (y.size(1), int(lengths)) == (out, valid)


def test_the_shortest_sounds_have_no_negative_length():
    for frames in range(1, 8):
        lengths = Conv4(80, 2, 8, "trt")(torch.zeros(1, frames, 80), torch.tensor([frames]))[1]
        assert int(lengths) >= 0
