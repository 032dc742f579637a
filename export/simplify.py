"""Fewer nodes for the same numbers: a step of the decoder is so short that each node counts."""

from collections import defaultdict

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass


def simplify(model: ir.Model) -> None:
    _cancel(model.graph)
    _fix_reshapes(model.graph)
    _merge_projections(model.graph)
    _merge_sums(model)
    RemoveUnusedNodesPass()(model)


def _cancel(graph: ir.Graph) -> None:
    """Reshapes and transposes that undo those before them go: heads taken apart and put together again."""
    for node in graph:
        before = _given(node)[0].producer() if node.op_type in ("Reshape", "Transpose") else None
        if before is None or before.op_type != node.op_type:
            continue
        source, out = _given(before)[0], node.outputs[0]
        if out.is_graph_output() and (source.is_graph_input() or source.is_graph_output()):
            continue  # a value has one name
        if _same_shape(source, out) and (node.op_type == "Reshape" or _undone(before, node)):
            name = out.name if out.is_graph_output() else source.name
            ir.convenience.replace_all_uses_with(out, source, replace_graph_outputs=True)
            graph.remove(node, safe=True)
            source.name = name


def _given(node: ir.Node) -> list[ir.Value]:
    return [value for value in node.inputs if value is not None]


def _same_shape(a: ir.Value, b: ir.Value) -> bool:
    return a.shape is not None and a.shape == b.shape and None not in a.shape.dims


def _undone(first: ir.Node, second: ir.Node) -> bool:
    a, b = (node.attributes["perm"].as_ints() for node in (first, second))
    return [a[i] for i in b] == sorted(a)


def _fix_reshapes(graph: ir.Graph) -> None:
    """Dimensions that a Reshape computes become 0 where they are its input's, and -1 where one is left."""
    for node in graph:
        if node.op_type == "Reshape" and (node.inputs[1] is None or node.inputs[1].const_value is None):
            dims = _dims(node.inputs[0].shape, node.outputs[0].shape)  # type: ignore[union-attr]
            if dims is not None:
                node.replace_input_with(1, _constant(graph, f"{node.outputs[0].name}_shape", np.array(dims)))
                node.attributes["allowzero"] = ir.AttrInt64("allowzero", 0)


def _dims(given: ir.Shape | None, wanted: ir.Shape | None) -> list[int] | None:
    if given is None or wanted is None:
        return None
    dims = []
    for axis, dim in enumerate(wanted):
        same = axis < len(given) and isinstance(dim, ir.SymbolicDim) and dim.value and given[axis] == dim
        dims.append(dim if isinstance(dim, int) else 0 if same else -1)
    return dims if dims.count(-1) <= 1 else None


def _merge_projections(graph: ir.Graph) -> None:
    """Queries, keys and values of one input come from one product, which is then split. Not more: the keys and values
    of a whole memory would be held twice."""
    projections = defaultdict(list)
    for node in graph:
        weight = node.inputs[1].const_value if node.op_type == "MatMul" and node.inputs[1] is not None else None
        if weight is not None and len(weight.shape) == 2:
            projections[node.inputs[0]].append((weight.numpy(), *_biased(node.outputs[0])))
    for source, found in projections.items():
        if 1 < len(found) <= 3:
            weights, biases, results = zip(*found, strict=True)
            biases = [np.zeros_like(w[0]) if b is None else b.numpy() for w, b in zip(weights, biases, strict=True)]
            name = f"{results[0].name}_and_more"
            weight = _constant(graph, f"{name}_weight", np.concatenate(weights, 1))
            bias = _constant(graph, f"{name}_bias", np.concatenate(biases))
            sizes = _constant(graph, f"{name}_sizes", np.array([w.shape[1] for w in weights]))
            product = ir.node("MatMul", [source, weight])
            total = ir.node("Add", [product.outputs[0], bias])
            split = ir.node("Split", [total.outputs[0], sizes], {"axis": -1}, num_outputs=len(found))
            graph.insert_before(next(use.node for use in source.uses()), [product, total, split])
            for result, part in zip(results, split.outputs, strict=True):
                part.shape, part.type = result.shape, result.type
                ir.convenience.replace_all_uses_with(result, part)


def _merge_sums(model: ir.Model) -> None:
    """A residual, the bias of what is added to it, the sum and its layer norm are one node. Not in 16 bits: the kernel
    for CUDA would take mean and variance in 16 bits too."""
    for norm in [node for node in model.graph if node.op_type == "LayerNormalization"]:
        total, *weights = _given(norm)
        add = total.producer()
        if add is None or add.op_type != "Add" or total.dtype != ir.DataType.FLOAT or not _alike(*_given(add)):
            continue
        skip, product, bias = _residual(*_given(add))
        merged = ir.Node(
            "com.microsoft",
            "SkipLayerNormalization",
            [product, skip, *weights, *([None] * (2 - len(weights))), bias],
            [norm.attributes["epsilon"]],
            outputs=[ir.Value(name=name) for name in (norm.outputs[0].name, "", "", total.name)],
        )
        model.graph.insert_before(add, merged)
        for old, new in ((norm.outputs[0], merged.outputs[0]), (total, merged.outputs[3])):
            new.shape, new.type = old.shape, old.type
            ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
        model.graph.remove([norm, add], safe=True)
        model.opset_imports["com.microsoft"] = 1


def _alike(a: ir.Value, b: ir.Value) -> bool:
    """Of three dimensions each; those not known may well be the same."""
    if a.shape is None or b.shape is None or not len(a.shape) == len(b.shape) == 3:
        return False
    return all(
        x == y or not isinstance(x, int) and not isinstance(y, int) for x, y in zip(a.shape, b.shape, strict=True)
    )


def _residual(a: ir.Value, b: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value | None]:
    """What something is added to, that without its bias, and the bias, where there is one."""
    for skip, product in ((a, b), (b, a)):
        bare, bias = _bare(product)
        if bias is not None:
            return skip, bare, bias
    return a, b, None


def _bare(total: ir.Value) -> tuple[ir.Value, ir.Value | None]:
    """A value without the bias that was added last, be it before a reshape of the rows, and that bias."""
    node = total.producer()
    if node is None or len(total.uses()) > 1:
        return total, None
    given = _given(node)
    if node.op_type == "Reshape" and given[0].shape and total.shape and given[0].shape[-1] == total.shape[-1]:
        bare, bias = _bare(given[0])
        if bias is not None:
            node.replace_input_with(0, bare)
        return total, bias
    if node.op_type == "Add":
        for bare, bias in (given, given[::-1]):
            if bias.const_value is not None and len(bias.const_value.shape) == 1:
                return bare, bias
    return total, None


def _biased(product: ir.Value) -> tuple[ir.TensorProtocol | None, ir.Value]:
    """The bias that is added to a product, and the sum."""
    uses = list(product.uses())
    if len(uses) == 1 and uses[0].node.op_type == "Add":
        bias = uses[0].node.inputs[1 - uses[0].idx]
        if bias is not None and bias.const_value is not None and len(bias.const_value.shape) == 1:
            return bias.const_value, uses[0].node.outputs[0]
    return None, product


def _constant(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    graph.register_initializer(value)
    return value
