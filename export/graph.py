"""A module to an ONNX file whose attention is fused."""

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir
import torch
from torch import Tensor, nn

from export.ops import IR_VERSION, OPSET, TRANSLATIONS, fused
from export.simplify import simplify
from speech.onnx_folder import label

logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)  # of torchvision's absence
EMBEDDED_BYTES = 1_500_000_000  # weights beyond go to NAME.onnx_data: a protobuf holds 2 GB


@dataclass(frozen=True)
class Input:
    """An example, and the names of the dimensions that may change."""

    name: str
    example: Tensor
    dims: Mapping[int, str]


class _Graph(nn.Module):
    def __init__(self, module: nn.Module, call: Callable):
        super().__init__()
        self.module, self.call = module, call

    def forward(self, *given: Tensor):
        return self.call(self.module, *given)


def save_graph(
    module: nn.Module,
    inputs: Sequence[Input],
    outputs: Sequence[str],
    path: Path,
    call: Callable = nn.Module.__call__,
) -> None:
    """Write to `path` what call(module, *inputs) gives."""
    dynamic = tuple(dict.fromkeys(i.dims, torch.export.Dim.DYNAMIC) for i in inputs)
    with fused(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(
            _Graph(module, call).eval().requires_grad_(False),
            tuple(i.example for i in inputs),
            dynamic_shapes=(dynamic,),
            prefer_deferred_runtime_asserts_over_guards=True,  # rows of memory that divide rows of tokens
        )
        program = torch.onnx.export(
            exported,
            dynamo=True,
            opset_version=OPSET,
            input_names=[i.name for i in inputs],
            output_names=list(outputs),
            dynamic_shapes=(tuple(i.dims for i in inputs),),
            custom_translation_table=TRANSLATIONS,
            optimize=True,
            verbose=False,
        )
    assert program is not None
    model = program.model
    model.ir_version = IR_VERSION
    model.metadata_props.update(label(path))
    values = (*model.graph.inputs, *(out for node in model.graph for out in node.outputs))
    for noted in (model.graph, *model.graph, *values, *model.graph.initializers.values()):
        noted.metadata_props.clear()  # stack traces
    for weight in [*model.graph.initializers.values()]:
        weight.name = str(weight.name).removeprefix("module.")
    simplify(model)
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    ir.save(model, path, external_data=f"{path.name}_data" if size > EMBEDDED_BYTES else None)
