"""Answer OpenAI's audio API over HTTP, and show a page that transcribes and speaks.

Where SPEECH_API_KEYS is set in the environment (several with commas between them), clients must send one of them, and
browsers ask for one as the password.
"""

import argparse
import logging
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
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
    parser.add_argument("--demo", choices=("true", "false"), default="false",
                        help="true: the page of `speech demo` at / (default: false, as it takes 70 MiB)")  # fmt: skip
    parser.add_argument("--device", choices=DEVICES, default="auto", help="auto: a GPU if there is one")
    parser.add_argument("--precision", choices=tuple(PRECISIONS), default="32", help="of the weights (default: 32)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of each model (0: the engine's choice)")
    group = parser.add_argument_group("limits", "what is more is refused")
    for name, value in vars(Limits()).items():
        group.add_argument(f"--{name}", type=type(value), default=value, metavar="N", help=f"default: {value:,}")
    return parser


def named_folders(given: Sequence[str]) -> dict[str, Path]:
    """SpeechError for a name that is none or stands twice."""
    folders: dict[str, Path] = {}
    for one in given:
        name, _, folder = one.partition("=")
        if not (name and folder) or name in folders:
            raise SpeechError(f"--model {one}: give NAME=FOLDER, each name once")
        folders[name] = Path(folder)
    return folders


def open_models(folders: Mapping[str, Path], device: str, precision: str, threads: int) -> dict:
    """SpeechError for a folder that is no model."""
    return {
        name: (open_synthesizer if is_voice(folder) else open_recognizer)(folder, device, precision, threads)
        for name, folder in folders.items()
    }


def serve(folders: Mapping[str, Path], args: argparse.Namespace, limits: Limits, demo: bool, note: str = "") -> int:
    """Until it is told to stop; of `args` the host, port, device, precision and threads. `note` is for the page."""
    keys = [key.strip() for key in os.environ.get(KEYS, "").split(",") if key.strip()]
    if not keys and args.host not in LOCAL:
        log.warning("%s is not set: whoever reaches %s:%d may use the models", KEYS, args.host, args.port)
    engine = Engine(open_models(folders, args.device, args.precision, args.threads), limits)
    app = make_app(engine, keys)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the folder of uploads goes
    with ExitStack() as stack, suppress(KeyboardInterrupt):
        if demo:
            from serve.demo import make_page, mount, sealed

            folders = {name: folder.resolve() for name, folder in folders.items()}
            stack.enter_context(sealed())
            mount(app, make_page(engine, folders, note), limits)
        door = stack.enter_context(_door(args.host, args.port))
        address = f"http://{args.host}:{door.getsockname()[1]}"
        page = f"{address} is the page, " if demo else ""
        log.info("%s%s/v1 serves %s", page, address, ", ".join(folders))
        wait = 3 if demo else 30  # an open page has a request that never ends
        config = uvicorn.Config(app, log_config=None, server_header=False, ws="none", timeout_graceful_shutdown=wait)
        uvicorn.Server(config).run(sockets=[door])
    return 0


def _door(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        door = socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise SpeechError(f"--host {host} --port {port} cannot be served ({why}); choose others") from None
    # An answer goes out in two parts; without this the second waits 40 ms for the client to acknowledge the first.
    door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return door


def main(argv: Sequence[str]) -> int:
    args = make_parser().parse_args(argv)
    limits = Limits(**{name: getattr(args, name) for name in vars(Limits())})
    if wrong := [name for name, value in vars(limits).items() if value <= 0]:
        raise SpeechError(f"--{wrong[0]} {getattr(limits, wrong[0])} must be above 0")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    return serve(named_folders(args.model), args, limits, args.demo == "true")
