import torch

from export.subsampling import HidingDepthwise8
from speech.nn.conv import Depthwise8


def test_the_first_convolution_hides_what_the_mask_hides():
    torch.manual_seed(0)
    plain = Depthwise8(16, 4, 8)
    with torch.no_grad():
        plain.conv0.bias.uniform_(0.5, 1)  # type: ignore[union-attr]  # zeros past a length would become this
    lengths = torch.tensor([64, 1, 15, 16, 17, 33, 40, 62])
    x = torch.randn(len(lengths), 64, 16) * (torch.arange(64) < lengths[:, None])[..., None]
    (expected, frames), (found, same) = plain(x, lengths), HidingDepthwise8(plain)(x, lengths)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert same.equal(frames)
