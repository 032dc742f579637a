import pytest
import torch
import torch.nn.functional as F
from torch import nn

from speech.errors import SpeechError
from speech.nn.config import EncoderConfig
from speech.nn.conv import Conv4, ConvModule, Depthwise8
from speech.nn.masks import valid

close = torch.testing.assert_close
KINDS = [Conv4, Depthwise8]


def subsampling(kind, n_mels: int = 16):
    torch.manual_seed(0)
    return kind(n_mels, 4, 8).eval()


@pytest.mark.parametrize(("frames", "kept"), [(1, 1), (67, 17), (98, 25), (99, 25), (100, 25), (101, 26), (137, 35)])
def test_conv4_keeps_a_quarter_of_the_frames_rounded_up(frames, kept):
    y, lengths = subsampling(Conv4)(torch.randn(1, frames, 16), torch.tensor([frames]))
    assert y.shape == (1, kept, 8) and lengths.tolist() == [kept]
    assert kept == ((frames + 6 - 3) // 2 + 1 - 3) // 2 + 1


def test_conv4_lengths_in_a_batch():
    y, lengths = subsampling(Conv4)(torch.zeros(3, 137, 16), torch.tensor([137, 102, 67]))
    assert y.shape == (3, 35, 8) and lengths.tolist() == [35, 26, 17]


@pytest.mark.parametrize(("total", "frames", "kept"), [(301, 300, 38), (300, 300, 38), (1, 1, 1), (9, 8, 1), (9, 9, 2)])
def test_dw8_halves_three_times_rounding_up(total, frames, kept):
    y, lengths = subsampling(Depthwise8)(torch.randn(1, total, 16), torch.tensor([frames]))
    assert lengths.tolist() == [kept] and y.size(1) >= kept


def test_an_empty_utterance_stays_empty():
    for kind in KINDS:
        y, lengths = subsampling(kind)(torch.zeros(2, 20, 16), torch.tensor([0, 20]))
        assert lengths[0] == 0 and y.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("extra", [0, 1, 13])
def test_a_padded_batch_equals_single_utterances(kind, extra):
    module, lengths = subsampling(kind), torch.tensor([50, 37, 9, 1])
    x = torch.randn(4, 50 + extra, 16)
    x = x * valid(lengths, x.size(1))[..., None] if kind is Conv4 else x + 1e3 * ~valid(lengths, x.size(1))[..., None]
    y, kept = module(x, lengths)
    for i, n in enumerate(lengths):
        alone, m = module(x[i : i + 1, :n], lengths[i : i + 1])
        assert m == kept[i]
        close(y[i : i + 1, :m], alone[:, :m], atol=1e-5, rtol=1e-5)


def test_conv4_is_two_convolutions_and_a_linear_over_channels_then_bins():
    module, x = subsampling(Conv4, 80), torch.randn(1, 21, 80)
    assert module.out.in_features == 4 * 19
    y = torch.cat([x, torch.zeros(1, 6, 80)], 1)[:, None]
    for conv in module.conv:
        y = F.conv2d(y, conv.weight, conv.bias, stride=2).relu()
    flat = torch.stack([y[0, :, t].reshape(-1) for t in range(y.size(2))])
    close(module(x, torch.tensor([21]))[0][0], module.out(flat))


def test_dw8_is_depthwise_separable_over_channels_then_bins():
    module, x = subsampling(Depthwise8, 128), torch.randn(1, 24, 128)
    assert module.out.in_features == 4 * 16
    y = F.conv2d(x[:, None], module.conv0.weight, module.conv0.bias, 2, 1).relu()
    for depthwise, pointwise in zip(module.depthwise, module.pointwise, strict=True):
        one = [F.conv2d(y[:, [c]], depthwise.weight[[c]], depthwise.bias[[c]], 2, 1) for c in range(4)]
        mixed = torch.einsum("oc,bctf->botf", pointwise.weight[:, :, 0, 0], torch.cat(one, 1))
        y = (mixed + pointwise.bias[:, None, None]).relu()
    close(module(x, torch.tensor([24]))[0][0], module.out(torch.stack([y[0, :, t].reshape(-1) for t in range(3)])))


def conv_module(**options) -> ConvModule:
    torch.manual_seed(0)
    module = ConvModule(EncoderConfig(d_model=8, conv_kernel=5, **options)).eval()
    if isinstance(module.norm, nn.BatchNorm1d):
        nn.init.normal_(module.norm.running_mean)
        nn.init.uniform_(module.norm.running_var, 0.5, 2)
    return module


@pytest.mark.parametrize("norm", ["layer", "batch"])
@pytest.mark.parametrize("mult", [1, 2])
def test_conv_module_is_its_formula(norm, mult):
    module, x, inner = conv_module(conv_norm=norm, conv_mult=mult), torch.randn(1, 9, 8), 8 * mult
    y = F.layer_norm(x, [8]) @ module.pointwise1.weight[..., 0].T + module.pointwise1.bias
    y = F.pad(y[..., :inner] * y[..., inner:].sigmoid(), (0, 0, 2, 2))
    taps = module.depthwise.weight[:, 0]  # [inner, 5]
    y = sum(y[:, k : k + 9] * taps[:, k] for k in range(5)) + module.depthwise.bias
    if norm == "layer":
        y = F.layer_norm(y, [inner])
    else:
        y = (y - module.norm.running_mean) / (module.norm.running_var + 1e-5).sqrt()
    y = y * y.sigmoid()
    expected = y @ module.pointwise2.weight[..., 0].T + module.pointwise2.bias
    close(module(x, torch.ones(1, 9, dtype=torch.bool)), expected)


@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_conv_module_ignores_padding(norm):
    module, x = conv_module(conv_norm=norm), 1e3 * torch.randn(2, 12, 8)
    lengths = torch.tensor([12, 7])
    y = module(x, valid(lengths, 12))
    close(y[1:, :7], module(x[1:, :7], valid(lengths[1:], 7)))


def test_without_conv_bias_only_the_norms_have_one():
    named = conv_module(conv_bias=False).state_dict()
    assert {name for name in named if name.endswith("bias")} == {"norm_in.bias", "norm.bias"}


def test_an_even_kernel_is_named():
    with pytest.raises(SpeechError, match="conv_kernel 16 is even"):
        ConvModule(EncoderConfig(conv_kernel=16))
