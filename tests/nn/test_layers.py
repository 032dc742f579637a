import math

import pytest
import torch
from torch.nn.functional import layer_norm

from speech.nn.layers import FeedForward

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
