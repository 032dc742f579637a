"""8-bit weights for the CPU."""

import logging
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

BEFORE_BANDS = ("Log", "Add", "Clip", "Max")  # the way from the logarithm back to the product


def quantize(source: Path, out: Path) -> None:
    """Weights of matrix products in 8 bits by column, their inputs quantised as they come; all else stays float32.

    So do the mel bands: powers span more than 8 bits.
    """
    made = {out: node for node in onnx.load(source, load_external_data=False).graph.node for out in node.output}
    kept = []
    for node in [n for n in made.values() if n.op_type == "Log"]:
        while node is not None and node.op_type in BEFORE_BANDS:
            node = made.get(node.input[0])
            if node is not None and node.op_type == "MatMul":
                kept.append(node.name)
    logging.getLogger().addFilter(_quiet)
    try:
        quantize_dynamic(
            source,
            out,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=kept,
        )
    finally:
        logging.getLogger().removeFilter(_quiet)


def _quiet(record: logging.LogRecord) -> bool:
    return "pre-processing" not in record.getMessage()
