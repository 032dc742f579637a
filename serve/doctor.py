"""What onnxruntime finds on this machine."""

import argparse
import shutil
import subprocess
from collections.abc import Sequence

import onnxruntime as ort

from serve.sessions import cuda_fault, installed


def main(argv: Sequence[str]) -> int:
    argparse.ArgumentParser("speech doctor", description=__doc__, allow_abbrev=False).parse_args(argv)
    print(f"onnxruntime {ort.__version__} of {' and '.join(installed()) or 'no known package'}")
    print(f"providers: {', '.join(ort.get_available_providers())}")
    print(f"GPU: {_gpus() or 'none that nvidia-smi shows'}")
    fault = cuda_fault()
    print("CUDA starts" if fault is None else f"CUDA does not start: {fault}")
    return 0


def _gpus() -> str:
    if shutil.which("nvidia-smi") is None:
        return ""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader"]
    return "; ".join(subprocess.run(query, capture_output=True, text=True).stdout.splitlines())
