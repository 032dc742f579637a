"""A module to an ONNX file whose attention is fused."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir
import torch
from torch import Tensor, nn

from export.ops import IR_VERSION, OPSET, TRANSLATIONS, fused
from speech.onnx_folder import label

logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)  # of torchvision's absence
EMBEDDED_BYTES = 1_500_000_000  # weights beyond go to NAME.onnx_data: a protobuf holds 2 GB


@dataclass(frozen=True)
class Input:
    """An example, and the names of the dimensions that may change."""

    name: str
    example: Tensor
    dims: Mapping[int, str]


def save_graph(module: nn.Module, inputs: Sequence[Input], outputs: Sequence[str], path: Path) -> None:
    """Write `path`. `forward` takes the inputs in their order, the last ones as *args if it has such."""
    module = module.eval().requires_grad_(False)
    examples = tuple(i.example for i in inputs)
    with fused(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(
            module,
            examples,
            dynamic_shapes=_shapes(module, inputs),
            prefer_deferred_runtime_asserts_over_guards=True,  # rows of memory that divide rows of tokens
        )
        program = torch.onnx.export(
            exported,
            examples,
            dynamo=True,
            opset_version=OPSET,
            input_names=[i.name for i in inputs],
            output_names=list(outputs),
            custom_translation_table=TRANSLATIONS,
            optimize=True,
            verbose=False,
        )
    assert program is not None
    model = program.model
    model.ir_version = IR_VERSION
    model.metadata_props.update(label(path))
    for noted in (model.graph, *model.graph, *_values(model), *model.graph.initializers.values()):
        noted.metadata_props.clear()  # stack traces
    _name_dims(model, inputs)
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    ir.save(model, path, external_data=f"{path.name}_data" if size > EMBEDDED_BYTES else None)


def _shapes(module: nn.Module, inputs: Sequence[Input]):
    """What torch.export wants: by argument, all *args in one tuple."""
    each = [dict.fromkeys(i.dims, torch.export.Dim.DYNAMIC) for i in inputs]
    names = module.forward.__code__.co_varnames[1 : module.forward.__code__.co_argcount]
    return (*each[: len(names)], tuple(each[len(names) :])) if len(each) > len(names) else tuple(each)


def _values(model: ir.Model) -> list[ir.Value]:
    return [*model.graph.inputs, *(out for node in model.graph for out in node.outputs)]


def _name_dims(model: ir.Model, inputs: Sequence[Input]) -> None:
    """The dimensions of inputs, and what is of the same symbol elsewhere, get their names."""
    names: dict[str, str] = {}
    for value, given in zip(model.graph.inputs, inputs, strict=True):
        assert value.shape is not None
        for axis, name in given.dims.items():
            symbol = value.shape[axis]
            if isinstance(symbol, ir.SymbolicDim) and symbol.value is not None:
                names.setdefault(symbol.value, name)
    for value in _values(model):
        if value.shape is not None:
            for axis, dim in enumerate(value.shape):
                if isinstance(dim, ir.SymbolicDim) and dim.value in names:
                    value.shape[axis] = ir.SymbolicDim(names[dim.value])
