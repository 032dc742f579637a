"""A model folder to a model of a Triton repository: config.pbtxt, and graphs beside model.py as its version 1."""

from pathlib import Path

from export import package, voice_package
from serve.limits import Limits
from speech.onnx_folder import ON_GPU, is_voice

LIMITS = Limits()
MODEL = "from serve.deploy.triton_model import TritonPythonModel as TritonPythonModel\n"
LISTENS = f"""# Recordings as files (wav, flac, mp3, opus, m4a ...) in; texts, and transcripts as JSON, out.
max_batch_size: {LIMITS.batch_size}
dynamic_batching {{ max_queue_delay_microseconds: {round(1e6 * LIMITS.window_seconds)} }}
input [ {{ name: "audio" data_type: TYPE_STRING dims: [ 1 ] }} ]
output [
  {{ name: "text" data_type: TYPE_STRING dims: [ 1 ] }},
  {{ name: "transcript" data_type: TYPE_STRING dims: [ 1 ] }}
]
"""
SPEAKS = """# A text in, a wav file out.
max_batch_size: 0
input [ { name: "text" data_type: TYPE_STRING dims: [ 1 ] } ]
output [ { name: "audio" data_type: TYPE_STRING dims: [ 1 ] } ]
"""
# each instance is a process of its own; the GPU is the first one that it sees
SERVED = """backend: "python"
instance_group [ {{ count: 1 {device} }} ]
parameters [ {{ key: "precision" value {{ string_value: "{precision}" }} }} ]
"""


def export_triton(source: Path, out: Path, precision: str) -> None:
    """`out` is REPOSITORY/NAME; its version 1 is also an exported folder. 16 and bf16 run on a GPU, others on a CPU."""
    voice = is_voice(source)
    (voice_package.export_voice if voice else package.export_aed)(source, out / "1", [precision])
    (out / "1" / "model.py").write_text(MODEL)
    device = "kind: KIND_GPU gpus: [ 0 ]" if precision in ON_GPU else "kind: KIND_CPU"
    config = (SPEAKS if voice else LISTENS) + SERVED.format(device=device, precision=precision)
    (out / "config.pbtxt").write_text(config)
