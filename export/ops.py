"""The calls of the models that become fused nodes: `attend` and `write` of speech.nn.attention.

`fused()` puts operators of their own in the place of the two, which `TRANSLATIONS` turns into ONNX nodes: attention
with a score bias into com.microsoft MultiHeadAttention, all other attention into Attention of opset 24 by the number of
keys, and a write into TensorScatter.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import onnx.defs as defs
import torch
import torch.nn.functional as F
from onnxscript.values import Op, Opset
from torch import Tensor

from speech.nn import attention
from speech.nn.masks import Lengths

OPSET, IR_VERSION = 24, 10
HIDDEN = -1e4  # of a score: finite in fp16, and a row of padding stays a number


@torch.library.custom_op("parlance::attend_bias", mutates_args=())
def attend_bias(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """[B, T, C], [B, S, C] twice, [B, H, T, S] -> [B, T, C]."""
    q, k, v = (by_heads(x, bias.size(1)) for x in (q, k, v))
    return flat(ATTEND(q, k, v, None, bias))


@torch.library.custom_op("parlance::attend_lengths", mutates_args=())
def attend_lengths(q: Tensor, k: Tensor, v: Tensor, lengths: Tensor, causal: bool, heads: int) -> Tensor:
    """[B, T, C], [B, S, C], [B, S, E], of which the first `lengths` [B] count -> [B, T, E]."""
    q, k, v = (by_heads(x, heads) for x in (q, k, v))
    return flat(ATTEND(q, k, v, Lengths(lengths, causal)))


@torch.library.custom_op("parlance::write", mutates_args=())
def write(buffer: Tensor, new: Tensor, at: Tensor) -> Tensor:
    """[B, S, C] with new [B, U, C] from `at` [B] on."""
    return WRITE(buffer[:, None], new[:, None], at)[:, 0]


ATTEND, WRITE, PAD = attention.attend, attention.write, F.pad


@attend_bias.register_fake
def _(q, k, v, bias):
    return torch.empty_like(q)


@attend_lengths.register_fake
def _(q, k, v, lengths, causal, heads):
    return q.new_empty(*q.shape[:2], v.size(2))


@write.register_fake
def _(buffer, new, at):
    return torch.empty_like(buffer)


def flat(x: Tensor) -> Tensor:
    """[B, H, T, D] -> [B, T, C], as keys and values stand in graphs."""
    return x.transpose(1, 2).flatten(2)


def by_heads(x: Tensor, heads: int) -> Tensor:
    """[B, T, C] -> [B, H, T, D], as they stand in models."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


def _attend(q, k, v, mask=None, bias=None, dropout=0.0) -> Tensor:
    if bias is not None:
        if mask is not None:
            bias = bias.masked_fill(~mask, HIDDEN)
        return by_heads(attend_bias(*map(flat, (q, k, v)), bias), q.size(1))
    if mask is None:
        mask = Lengths(torch.full_like(q[:, 0, 0, 0], k.size(2), dtype=torch.long))
    elif isinstance(mask, Tensor):
        assert mask.size(2) == 1  # of lengths: nothing else comes without a bias in a graph
        mask = Lengths(mask[:, 0, 0].sum(-1))
    return by_heads(attend_lengths(*map(flat, (q, k, v)), mask.lengths, mask.causal, q.size(1)), q.size(1))


def _write(buffer: Tensor, new: Tensor, at: Tensor) -> Tensor:
    return by_heads(write(flat(buffer), flat(new), at), buffer.size(1))


def _pad(x: Tensor, *given, **named) -> Tensor:
    """onnxruntime pads no bfloat16, and on a GPU no whole numbers: ours are below 2^24."""
    narrow = x.dtype in (torch.bfloat16, torch.long)
    return PAD(x.float(), *given, **named).to(x.dtype) if narrow else PAD(x, *given, **named)


@contextmanager
def fused() -> Iterator[None]:
    with ExitStack() as swapped:
        for module, name, ours in ((attention, "attend", _attend), (attention, "write", _write), (F, "pad", _pad)):
            swapped.enter_context(patch.object(module, name, ours))
        yield


def _multi_head_attention() -> Op:
    """onnx knows no schema of this domain; one output, as `attend_bias` has."""
    names = ("query", "key", "value", "bias", "key_padding_mask", "attention_bias")
    given, optional = defs.OpSchema.FormalParameter, defs.OpSchema.FormalParameterOption.Optional
    floats = ["tensor(float)", "tensor(float16)", "tensor(bfloat16)"]
    schema = defs.OpSchema(
        "MultiHeadAttention",
        "com.microsoft",
        1,
        inputs=[given(name, "T", param_option=optional) for name in names],
        outputs=[given("output", "T")],
        type_constraints=[("T", floats, "")],
        attributes=[defs.OpSchema.Attribute("num_heads", defs.OpSchema.AttrType.INT, "")],
    )
    return Op(Opset("com.microsoft", 1), schema.name, schema)


def _standard(name: str) -> Op:
    return Op(Opset("", OPSET), name, defs.get_schema(name, OPSET, ""))


MHA, ATTENTION, SCATTER = _multi_head_attention(), _standard("Attention"), _standard("TensorScatter")


def _bias_node(q, k, v, bias):
    return MHA(q, k, v, None, None, bias, num_heads=bias.shape[1])


def _lengths_node(q, k, v, lengths, causal: bool, heads: int):
    given = (q, k, v, None, None, None, lengths)
    return ATTENTION(*given, is_causal=int(causal), q_num_heads=heads, kv_num_heads=heads)[0]  # type: ignore[index]


def _write_node(buffer, new, at):
    return SCATTER(buffer, new, at, axis=-2, mode="linear")


TRANSLATIONS: dict[Callable, Callable] = {
    torch.ops.parlance.attend_bias.default: _bias_node,
    torch.ops.parlance.attend_lengths.default: _lengths_node,
    torch.ops.parlance.write.default: _write_node,
}
