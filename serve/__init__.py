"""The torch-free runtime: sessions, command line, HTTP and browser."""

import speech  # noqa: F401 - before onnxruntime, which it keeps from reporting
