"""8-bit weights for the CPU."""

from pathlib import Path
from unittest.mock import patch

import onnx
from onnx import numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

with patch("logging.basicConfig"):  # which this module calls for everyone
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer


def front_end(graph: onnx.GraphProto) -> set[str]:
    """Names of the nodes that a logarithm or a running sum is taken of. They stay float32: powers span more than 8 or
    16 bits hold, and durations of phonemes are rounded once they are summed."""
    made = {out: node for node in graph.node for out in node.output}
    todo, found = [node for node in graph.node if node.op_type in ("Log", "CumSum")], set()
    while todo:
        node = todo.pop()
        if node.name not in found:
            found.add(node.name)
            todo += [made[name] for name in node.input if name in made]
    return found


def quantize(source: Path, out: Path, by_row: bool = False) -> None:
    """Weights of matrix products in 8 bits by column, their inputs quantised as they come; all else stays float32.

    By row, and by blocks of it, inputs give the same alone and beside others: a search step of one token is then one of
    several, and the faster for one token. Of long inputs it takes twice as long.
    """
    if by_row:
        made = MatMulNBitsQuantizer(
            _folded(onnx.load(source)), bits=8, block_size=32, is_symmetric=True, accuracy_level=4
        )
        made.process()
        onnx.save(made.model.model, out)  # type: ignore[union-attr]
        return
    with patch("logging.warning"):  # of a preprocessing that the graphs need not
        quantize_dynamic(
            source,
            out,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=sorted(front_end(onnx.load(source, load_external_data=False).graph)),
        )


def _folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """With the weights that it transposes, as is an embedding that serves as the head, stored so too."""
    weights = {weight.name: weight for weight in model.graph.initializer}
    for node in [n for n in model.graph.node if n.op_type == "Transpose" and n.input[0] in weights]:
        turned = numpy_helper.to_array(weights[node.input[0]]).transpose(node.attribute[0].ints)
        model.graph.initializer.append(numpy_helper.from_array(turned, node.output[0]))
        model.graph.node.remove(node)
    return model
