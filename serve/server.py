"""Answer OpenAI's audio API over HTTP.

Where SPEECH_API_KEYS is set in the environment (several with commas between them), clients must send one of them.
"""

import argparse
import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import uvicorn

from serve.api import make_app
from serve.engine import Engine
from serve.limits import Limits
from serve.sessions import DEVICES
from speech.errors import SpeechError
from speech.onnx_folder import PRECISIONS, is_voice
from speech.open import open_recognizer, open_synthesizer

log = logging.getLogger(__name__)
KEYS = "SPEECH_API_KEYS"
LOCAL = ("127.0.0.1", "::1", "localhost")


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("speech serve", description=__doc__, allow_abbrev=False)
    parser.add_argument("--model", action="append", required=True, metavar="NAME=FOLDER",
                        help="a recogniser or a voice and what clients call it; once for each")  # fmt: skip
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0: from everywhere (default: this machine alone)")
    parser.add_argument("--port", type=int, default=8000, help="default: 8000")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="auto: a GPU if there is one")
    parser.add_argument("--precision", choices=tuple(PRECISIONS), default="32", help="of the weights (default: 32)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of each model (0: the engine's choice)")
    group = parser.add_argument_group("limits", "what is more is refused")
    for field in fields(Limits):
        kind = type(field.default)
        group.add_argument(
            f"--{field.name}", type=kind, default=field.default, metavar="N", help=f"default: {field.default:,}"
        )
    return parser


def open_models(named: Sequence[str], device: str, precision: str, threads: int) -> dict:
    """SpeechError for a folder that is no model and a name that is none or stands twice."""
    models = {}
    for one in named:
        name, _, folder = one.partition("=")
        if not (name and folder) or name in models:
            raise SpeechError(f"--model {one}: give NAME=FOLDER, each name once")
        models[name] = (open_synthesizer if is_voice(Path(folder)) else open_recognizer)(
            folder, device, precision, threads
        )
    return models


def main(argv: Sequence[str]) -> int:
    args = make_parser().parse_args(argv)
    limits = Limits(**{field.name: getattr(args, field.name) for field in fields(Limits)})
    if wrong := [field.name for field in fields(Limits) if getattr(limits, field.name) <= 0]:
        raise SpeechError(f"--{wrong[0]} {getattr(limits, wrong[0])} must be above 0")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    keys = [key.strip() for key in os.environ.get(KEYS, "").split(",") if key.strip()]
    if not keys and args.host not in LOCAL:
        log.warning("%s is not set: whoever reaches %s:%d may use the models", KEYS, args.host, args.port)
    models = open_models(args.model, args.device, args.precision, args.threads)
    try:
        family = socket.AF_INET6 if ":" in args.host else socket.AF_INET
        door = socket.create_server((args.host, args.port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise SpeechError(f"--host {args.host} --port {args.port} cannot be served ({why}); choose others") from None
    app = make_app(Engine(models, limits), keys)
    config = uvicorn.Config(app, log_config=None, server_header=False, timeout_graceful_shutdown=30)
    log.info("http://%s:%d/v1 serves %s", args.host, door.getsockname()[1], ", ".join(models))
    uvicorn.Server(config).run(sockets=[door])
    return 0
