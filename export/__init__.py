"""ONNX graphs with fused attention from model folders."""
