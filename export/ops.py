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
    q, k, v = (x.unflatten(2, (bias.size(1), -1)).transpose(1, 2) for x in (q, k, v))
    return _flat(ATTEND(q, k, v, None, bias))


@torch.library.custom_op("parlance::attend_lengths", mutates_args=())
def attend_lengths(q: Tensor, k: Tensor, v: Tensor, lengths: Tensor, causal: bool) -> Tensor:
    """[B, H, T, D], [B, H, S, D], [B, H, S, E], of which the first `lengths` [B] count -> [B, H, T, E]."""
    return ATTEND(q, k, v, Lengths(lengths, causal))


@torch.library.custom_op("parlance::write", mutates_args=())
def write(buffer: Tensor, new: Tensor, at: Tensor) -> Tensor:
    return WRITE(buffer, new, at)


ATTEND, WRITE, PAD = attention.attend, attention.write, F.pad


@attend_bias.register_fake
def _(q, k, v, bias):
    return torch.empty_like(q)


@attend_lengths.register_fake
def _(q, k, v, lengths, causal):
    return q.new_empty(*q.shape[:3], v.size(3))


@write.register_fake
def _(buffer, new, at):
    return torch.empty_like(buffer)


def _flat(x: Tensor) -> Tensor:  # [B, H, T, D] -> [B, T, C]
    return x.transpose(1, 2).flatten(2)


def _attend(q, k, v, mask=None, bias=None, dropout=0.0) -> Tensor:
    if bias is not None:
        if mask is not None:
            bias = bias.masked_fill(~mask, HIDDEN)
        return attend_bias(*map(_flat, (q, k, v)), bias).unflatten(2, (q.size(1), -1)).transpose(1, 2)
    if mask is None:
        mask = Lengths(torch.full_like(q[:, 0, 0, 0], k.size(2), dtype=torch.long))
    elif isinstance(mask, Tensor):
        assert mask.size(2) == 1  # of lengths: nothing else comes without a bias in a graph
        mask = Lengths(mask[:, 0, 0].sum(-1))
    return attend_lengths(q, k, v, mask.lengths, mask.causal)


def _pad(x: Tensor, *given, **named) -> Tensor:
    """onnxruntime pads no bfloat16."""
    return PAD(x.float(), *given, **named).to(x.dtype) if x.dtype == torch.bfloat16 else PAD(x, *given, **named)


@contextmanager
def fused() -> Iterator[None]:
    with ExitStack() as swapped:
        for module, name, ours in ((attention, "attend", _attend), (attention, "write", write), (F, "pad", _pad)):
            swapped.enter_context(patch.object(module, name, ours))
        yield


def _multi_head_attention() -> Op:
    """onnx knows no schema of this domain; one output, as `attend_bias` has."""
    value, option, kind = defs.OpSchema.FormalParameter, defs.OpSchema.FormalParameterOption, defs.OpSchema.AttrType
    names = ("query", "key", "value", "bias", "key_padding_mask", "attention_bias")
    inputs = [
        value(n, "M" if n == "key_padding_mask" else "T", param_option=option.Optional if i else option.Single)
        for i, n in enumerate(names)
    ]
    floats = ["tensor(float)", "tensor(float16)", "tensor(bfloat16)"]
    schema = defs.OpSchema(
        "MultiHeadAttention",
        "com.microsoft",
        1,
        inputs=inputs,
        outputs=[value("output", "T")],
        type_constraints=[("T", floats, ""), ("M", ["tensor(int32)"], "")],
        attributes=[defs.OpSchema.Attribute("num_heads", kind.INT, "", required=True)],
    )
    return Op(Opset("com.microsoft", 1), "MultiHeadAttention", schema)


def _attention() -> Op:
    """Of opset 24 with its first output alone."""
    full = defs.get_schema("Attention", OPSET, "")
    kept = [t for t in full.type_constraints if t.type_param_str in ("T", "T1", "T2", "U")]
    schema = defs.OpSchema(
        full.name,
        "",
        OPSET,
        inputs=list(full.inputs),
        outputs=list(full.outputs)[:1],
        type_constraints=[(t.type_param_str, list(t.allowed_type_strs), "") for t in kept],
        attributes=[
            defs.OpSchema.Attribute(n, a.type, "", required=False)
            for n, a in full.attributes.items()
            if n in ("scale", "q_num_heads", "kv_num_heads", "is_causal")
        ],
    )
    return Op(Opset("", OPSET), "Attention", schema)


MHA, ATTENTION = _multi_head_attention(), _attention()
SCATTER = Op(Opset("", OPSET), "TensorScatter", defs.get_schema("TensorScatter", OPSET, ""))


def _bias_node(q, k, v, bias):
    return MHA(q, k, v, None, None, bias, num_heads=bias.shape[1])


def _lengths_node(q, k, v, lengths, causal: bool):
    return ATTENTION(q, k, v, None, None, None, lengths, is_causal=int(causal))


def _write_node(buffer, new, at):
    return SCATTER(buffer, new, at, axis=-2, mode="linear")


TRANSLATIONS: dict[Callable, Callable] = {
    torch.ops.parlance.attend_bias.default: _bias_node,
    torch.ops.parlance.attend_lengths.default: _lengths_node,
    torch.ops.parlance.write.default: _write_node,
}
