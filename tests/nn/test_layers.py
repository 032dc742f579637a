import math

import pytest
import torch
from torch.nn.functional import layer_norm

from speech.nn.layers import FeedForward, store_by_input

FORMULAS = {
    "gelu": lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))),
    "relu": lambda x: x.clamp(min=0),
    "silu": lambda x: x / (1 + torch.exp(-x)),
}


@pytest.mark.parametrize("act", FORMULAS)
def test_feed_forward_is_its_formula(act):
    torch.manual_seed(0)
    ff, x = FeedForward(8, 32, act, dropout=0.5).eval(), 3 * torch.randn(2, 5, 8)
    inner = FORMULAS[act](layer_norm(x, [8]) @ ff.inner.weight.T + ff.inner.bias)
    torch.testing.assert_close(ff(x), inner @ ff.outer.weight.T + ff.outer.bias)


def test_dropout_acts_on_the_inner_and_the_outer_values():
    ff, widths = FeedForward(8, 32, "relu", dropout=0.5), []
    ff.dropout.register_forward_hook(lambda module, inputs, output: widths.append(output.size(-1)))
    ff(torch.randn(1, 1, 8))
    assert widths == [32, 8]


def test_storing_by_input_changes_strides_alone():
    torch.manual_seed(0)
    module, x = (
        torch.nn.ModuleList([FeedForward(8, 32, "relu", dropout=0.0), torch.nn.Embedding(40, 8)]),
        torch.randn(3, 8),
    )
    before, y = {k: v.clone() for k, v in module.state_dict().items()}, module[0](x)
    store_by_input(module)
    assert {k for k, v in module.state_dict().items() if not v.is_contiguous()} == {"0.inner.weight", "1.weight"}
    torch.testing.assert_close(module[0](x), y)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])
