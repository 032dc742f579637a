import math

import pytest
import torch
from torch import nn

from speech.errors import SpeechError
from speech.nn.attention import KV, Attention, RelativeAttention, append, attend, shift
from speech.nn.masks import causal_mask, length_mask
from speech.nn.positions import relative_positions, sinusoid

C, H, T = 16, 4, 7
close = torch.testing.assert_close


def attention(**options) -> Attention:
    torch.manual_seed(0)
    return Attention(C, H, **options).eval()


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(2, T, C, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("norms", [False, True])
def test_steps_with_appended_keys_equal_the_causal_pass(x, norms):
    attn = attention(norms=norms)
    whole = attn(x, attn.project_kv(x), causal_mask(T, T))
    past = None
    for t in range(T):
        past = append(past, attn.project_kv(x[:, t : t + 1]))
        close(attn(x[:, t : t + 1], past), whole[:, t : t + 1])


def test_a_block_after_a_past_equals_the_causal_pass(x):
    attn = attention()
    whole = attn(x, attn.project_kv(x), causal_mask(T, T))
    kv = append(attn.project_kv(x[:, :3]), attn.project_kv(x[:, 3:]))
    close(attn(x[:, 3:], kv, causal_mask(T - 3, T)), whole[:, 3:])


@pytest.mark.parametrize("causal", [False, True])
def test_equals_torch_multihead_attention(x, causal):
    attn, theirs = attention(), nn.MultiheadAttention(C, H, batch_first=True).eval()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([attn.q.weight, attn.k.weight, attn.v.weight]))
        theirs.in_proj_bias.copy_(torch.cat([attn.q.bias, attn.k.bias, attn.v.bias]))
        theirs.out_proj.weight.copy_(attn.out.weight)
        theirs.out_proj.bias.copy_(attn.out.bias)
    source = x if causal else torch.randn(2, 5, C)
    keep = causal_mask(T, T) if causal else length_mask(torch.tensor([5, 3]), 5)
    foreign = {"attn_mask": ~keep[0, 0]} if causal else {"key_padding_mask": ~keep[:, 0, 0]}
    expected, weights = theirs(x, source, source, average_attn_weights=False, **foreign)
    kv = attn.project_kv(source)
    close(attn(x, kv, keep), expected)
    close(attn.weights(x, kv, keep), weights)


def test_later_inputs_have_no_gradient(x):
    attn = attention()
    for t in range(T):
        leaf = x.clone().requires_grad_()
        attn(leaf, attn.project_kv(leaf), causal_mask(T, T))[:, t].sum().backward()
        assert (leaf.grad[:, t + 1 :] == 0).all()
        assert (leaf.grad[:, : t + 1] != 0).any(-1).all()


def test_padding_changes_nothing(x):
    attn = attention()
    lengths = torch.tensor([T, 4])
    longer = torch.cat([x, 1e3 * torch.randn(2, 3, C)], 1)
    longer[1, 4:] = 1e3
    y = attn(longer, attn.project_kv(longer), length_mask(lengths, T + 3))
    for i, n in enumerate(lengths):
        alone = x[i : i + 1, :n]
        close(y[i : i + 1, :n], attn(alone, attn.project_kv(alone)))


@pytest.mark.parametrize("biased", [False, True])
def test_a_row_without_keys_is_zero_and_so_is_its_gradient(biased):
    tensors = [torch.randn(2, H, T, 4, requires_grad=True) for _ in range(3)]
    bias = torch.randn(2, H, T, T, requires_grad=True) if biased else None
    y = attend(*tensors, length_mask(torch.tensor([T, 0]), T), bias)
    assert (y[0] != 0).all() and (y[1] == 0).all()
    y.square().sum().backward()
    for leaf in [*tensors, *([bias] if biased else [])]:
        assert leaf.grad.isfinite().all() and (leaf.grad[1] == 0).all()


def test_mask_and_bias_act_together():
    q, k, v, bias = (torch.randn(2, H, T, n) for n in (4, 4, 4, T))
    mask = length_mask(torch.tensor([T, 3]), T)
    scores = (q @ k.transpose(2, 3) / 2 + bias).masked_fill(~mask, -math.inf)
    close(attend(q, k, v, mask, bias), torch.softmax(scores, -1) @ v)


def test_append_keeps_the_order():
    a, b = (KV(torch.randn(1, H, n, 4), torch.randn(1, H, n, 4)) for n in (2, 3))
    joined = append(a, b)
    assert append(None, a) is a
    assert torch.equal(joined.k[:, :, :2], a.k) and torch.equal(joined.k[:, :, 2:], b.k)
    assert torch.equal(joined.v[:, :, :2], a.v) and torch.equal(joined.v[:, :, 2:], b.v)


def test_the_options_choose_the_parameters():
    def names(**options):
        return {name for name, _ in attention(**options).named_parameters()}

    weights, biases = {f"{n}.weight" for n in ("q", "k", "v", "out")}, {f"{n}.bias" for n in ("q", "k", "v", "out")}
    assert names() == weights | biases
    assert names(bias=False) == weights
    assert names(key_bias=False) == weights | biases - {"k.bias"}
    assert names(bias=False, norms=True) - weights == {f"norms.{n}.{p}" for n in "qkv" for p in ("weight", "bias")}


def test_the_three_norms_each_serve_their_own_projection(x):
    attn, plain = attention(norms=True), attention()
    plain.load_state_dict({k: v for k, v in attn.state_dict().items() if not k.startswith("norms")})
    with torch.no_grad():
        for n, gain in zip("qkv", (0.5, 2.0, 3.0), strict=True):
            attn.norms[n].weight.fill_(gain)
    q, k, v = (nn.functional.layer_norm(x, [C]) * gain for gain in (0.5, 2.0, 3.0))
    close(attn(x, attn.project_kv(x)), plain(q, KV(plain.project_kv(k).k, plain.project_kv(v).v)))


def test_dropout_acts_in_training_only(x):
    attn = attention(dropout=0.5)
    kv = attn.project_kv(x)
    assert torch.equal(attn(x, kv), attn(x, kv))
    attn.train()
    assert not torch.equal(attn(x, kv), attn(x, kv))


def test_shift_keeps_the_column_of_each_distance():
    scores = torch.randn(2, H, T, 2 * T - 1)
    shifted = shift(scores)
    assert shifted.shape == (2, H, T, T)
    for i in range(T):
        for j in range(T):
            assert torch.equal(shifted[:, :, i, j], scores[:, :, i, T - 1 - (i - j)])


def relative(**options) -> RelativeAttention:
    torch.manual_seed(0)
    attn = RelativeAttention(C, H, **options).eval()
    nn.init.normal_(attn.u)
    nn.init.normal_(attn.v_pos)
    return attn


@pytest.mark.parametrize(("bias", "norms"), [(True, False), (False, True)])
def test_relative_attention_equals_a_loop_over_transformer_xl_scores(x, bias, norms):
    attn = relative(bias=bias, norms=norms)
    q, kv = attn.project_q(x), attn.project_kv(x)
    scores = torch.empty(2, H, T, T)
    for i in range(T):
        for j in range(T):
            p = attn.pos(sinusoid(torch.tensor([i - j]), C)).view(H, C // H)
            content = ((q[:, :, i] + attn.u) * kv.k[:, :, j]).sum(-1)
            position = ((q[:, :, i] + attn.v_pos) * p).sum(-1)
            scores[:, :, i, j] = (content + position) * (C // H) ** -0.5
    mask = length_mask(torch.tensor([T, 5]), T)
    weights = torch.softmax(scores.masked_fill(~mask, -math.inf), -1)
    expected = attn.out((weights @ kv.v).transpose(1, 2).flatten(2))
    close(attn(x, relative_positions(T, C), mask), expected)


def test_relative_attention_ignores_padding(x):
    attn = relative()
    longer = torch.cat([x, 1e3 * torch.randn(2, 4, C)], 1)
    y = attn(longer, relative_positions(T + 4, C), length_mask(torch.tensor([T, T]), T + 4))
    close(y[:, :T], attn(x, relative_positions(T, C)))


def test_heads_that_do_not_divide_the_width_are_named():
    with pytest.raises(SpeechError, match="d_model 16 is not a multiple of n_heads 3"):
        Attention(16, 3)
