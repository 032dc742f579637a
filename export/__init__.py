"""ONNX graphs with fused attention from model folders."""

import speech  # noqa: F401 - before onnxruntime, which it keeps from reporting
