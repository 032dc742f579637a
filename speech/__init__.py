"""Parlance: speech recognition and synthesis on one set of attention blocks."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime reports sessions to its maker

__version__ = "0.1.0"
