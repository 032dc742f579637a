import pytest
import torch
from tiny import lively

from speech.models.conformer import Conformer, ConformerBlock
from speech.nn.attention import RelativeAttention
from speech.nn.config import EncoderConfig
from speech.nn.masks import valid
from speech.nn.positions import relative_positions

close = torch.testing.assert_close
STYLES = {
    "conv4": {"subsampling": "conv4", "conv_norm": "layer"},
    "dw8": {"subsampling": "dw8", "conv_norm": "batch"},
}


def encoder(style: str, **options) -> Conformer:
    torch.manual_seed(0)
    sizes = {"d_model": 16, "n_layers": 2, "n_heads": 4, "d_ff": 32, "subsampling_channels": 4, "conv_kernel": 7}
    return lively(Conformer(EncoderConfig(**sizes, **STYLES[style], **options), 16))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("qkv_norm", [True, False])
@pytest.mark.parametrize("conv_mult", [2, 1])
def test_padding_changes_nothing(style, qkv_norm, conv_mult):
    model, lengths = encoder(style, qkv_norm=qkv_norm, conv_mult=conv_mult), torch.tensor([101, 70, 5])
    x = torch.randn(3, 117, 16) * valid(lengths, 117)[..., None]
    y, kept = model(x, lengths)
    for i, n in enumerate(lengths):
        alone, m = model(x[i : i + 1, :n], lengths[i : i + 1])
        assert m == kept[i]
        close(y[i : i + 1, :m], alone[:, :m], atol=1e-5, rtol=1e-5)


def test_every_frame_sees_every_other():
    model = encoder("conv4")
    x = torch.randn(1, 40, 16, requires_grad=True)
    y, _ = model(x, torch.tensor([40]))
    for t in (0, y.size(1) - 1):
        (gradient,) = torch.autograd.grad(y[0, t].square().sum(), x, retain_graph=True)
        assert (gradient[0].abs().sum(-1) > 0).all()


@pytest.mark.parametrize("qkv_norm", [True, False])
def test_block_is_its_formula(qkv_norm):
    block = encoder("conv4", qkv_norm=qkv_norm).blocks[0]
    assert isinstance(block, ConformerBlock) and isinstance(block.attn, RelativeAttention)
    x, positions, keep = torch.randn(1, 6, 16), relative_positions(6, 16), torch.ones(1, 6, dtype=torch.bool)
    y = x + block.ff1(x) / 2
    normed = y if qkv_norm else torch.nn.functional.layer_norm(y, [16], block.attn_norm.weight, block.attn_norm.bias)
    y = y + block.attn(normed, positions)
    y = y + block.conv(y, keep)
    y = y + block.ff2(y) / 2
    close(block(x, positions, keep), torch.nn.functional.layer_norm(y, [16], block.norm.weight, block.norm.bias))


def test_separate_norms_replace_the_shared_one():
    shared, separate = (set(encoder("conv4", qkv_norm=q).blocks[0].state_dict()) for q in (False, True))
    assert shared - separate == {"attn_norm.weight", "attn_norm.bias"}
    assert separate - shared == {f"attn.norms.{n}.{p}" for n in "qkv" for p in ("weight", "bias")}
