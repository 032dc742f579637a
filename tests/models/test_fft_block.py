import pytest
import torch
import torch.nn.functional as F
from tiny import lively

from speech.errors import SpeechError
from speech.models.fft_block import FFTBlock, FFTStack, TimeConv
from speech.nn.masks import valid
from speech.nn.positions import sinusoid
from speech.nn.tts_config import FastSpeechConfig

close = torch.testing.assert_close
KERNELS = [(3, 3), (9, 1)]


def config(kernels: tuple[int, int]) -> FastSpeechConfig:
    return FastSpeechConfig(d_model=16, d_ff=24, kernels=kernels)


@pytest.mark.parametrize("kernels", KERNELS)
def test_block_is_its_formula(kernels):
    block = lively(FFTBlock(config(kernels)))
    x, keep = torch.randn(2, 7, 16), torch.ones(2, 7, dtype=torch.bool)
    y = F.layer_norm(x + block.attn(x, block.attn.project_kv(x)), [16], block.attn_norm.weight, block.attn_norm.bias)
    z = y.transpose(1, 2)
    for i, conv in enumerate((block.conv1, block.conv2)):
        assert conv.weight.size(2) == kernels[i]
        z = F.conv1d(z if i == 0 else z.relu(), conv.weight, conv.bias, padding="same")
    expected = F.layer_norm(y + z.transpose(1, 2), [16], block.conv_norm.weight, block.conv_norm.bias)
    close(block(x, keep), expected)


@pytest.mark.parametrize("kernels", KERNELS)
def test_padding_changes_nothing(kernels):
    model, lengths = lively(FFTStack(config(kernels), 2)), torch.tensor([11, 4, 1])
    x = torch.randn(3, 15, 16)
    y = model(x, lengths)
    for i, n in enumerate(lengths):
        close(y[i : i + 1, :n], model(x[i : i + 1, :n], lengths[i : i + 1]))
    x = torch.where(valid(lengths, 15)[..., None], x, 1e3)
    close(model(x, lengths)[valid(lengths, 15)], y[valid(lengths, 15)])


def test_the_stack_adds_positions_and_sees_everything():
    model = lively(FFTStack(config((3, 3)), 1))
    x = torch.randn(1, 30, 16, requires_grad=True)
    y = model(x, torch.tensor([30]))
    close(y, model.blocks[0](x + sinusoid(torch.arange(30), 16), torch.ones(1, 30, dtype=torch.bool)))
    (gradient,) = torch.autograd.grad(y[0, 0].square().sum(), x)
    assert (gradient[0].abs().sum(-1) > 0).all()


def test_dropout_acts_in_training_alone():
    model = FFTStack(config((3, 3)), 1).train()
    x, lengths = torch.randn(1, 9, 16), torch.tensor([9])
    assert (model(x, lengths) != model(x, lengths)).any()
    model.eval()
    close(model(x, lengths), model(x, lengths))


@pytest.mark.parametrize("kernel", [1, 3, 9])
def test_time_conv_is_conv1d(kernel):
    conv, x = TimeConv(5, 6, kernel), torch.randn(2, 8, 5)
    expected = F.conv1d(x.transpose(1, 2), conv.weight, conv.bias, padding="same").transpose(1, 2)
    close(conv(x), expected)


def test_an_even_kernel_is_refused():
    with pytest.raises(SpeechError, match="kernels has 4"):
        config((9, 4))
