"""`speech demo`: a page in the browser that transcribes and speaks."""

import argparse
import logging
from pathlib import Path

from speech.errors import SpeechError
from speech.onnx_folder import PRECISIONS

DIGITS = Path(__file__).parents[1] / "egs" / "digits"
BUNDLE = {"recognizer": DIGITS / "exp" / "onnx", "voice": DIGITS / "tts" / "exp" / "onnx"}
MADE_BY = {"recognizer": "bash egs/digits/run.sh", "voice": "bash egs/digits/tts/run.sh"}
NOTE = """\
These are the small models of `egs/digits`, trained in minutes on the Free Spoken Digit Dataset (CC BY-SA 4.0). The
recogniser knows the ten English digits and strings of them, and writes digits for whatever else it hears; the voice
says digits alone. Open others with `--recognizer FOLDER` and `--voice FOLDER`; `speech import` makes such folders of
large public models.
"""


def add_demo(commands) -> None:
    p = commands.add_parser("demo", help="open a page that transcribes and speaks", allow_abbrev=False)
    p.add_argument("--recognizer", metavar="FOLDER", help="model folder, exported or not")
    p.add_argument("--voice", metavar="FOLDER", help="voice folder, exported or not (default of both: those of the"
                   " digits recipes)")  # fmt: skip
    p.add_argument("--host", default="127.0.0.1", help="address to listen at; 0.0.0.0 is every one of this machine")
    p.add_argument("--port", type=int, default=7860)
    p.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: a GPU if there is one")
    p.add_argument("--precision", choices=tuple(PRECISIONS), help="of the weights (default: 32; of the digits"
                   " int8)")  # fmt: skip
    p.add_argument("--threads", type=int, default=0, help="CPU threads (0: the engine's choice)")
    p.set_defaults(run=demo)


def models(recognizer: str | None, voice: str | None) -> tuple[dict[str, Path], str]:
    """Folders to open and what the page says of them. SpeechError where the digits were not trained."""
    given = {name: Path(one) for name, one in (("recognizer", recognizer), ("voice", voice)) if one is not None}
    if given:
        return given, ""
    found = {name: folder for name, folder in BUNDLE.items() if (folder / "config.json").is_file()}
    missing = [f"`{MADE_BY[name]}` makes the {name}" for name in BUNDLE if name not in found]
    if not found:
        raise SpeechError(
            f"the models of the digits are not there: {', '.join(missing)} in a clone of the repository, in some "
            "minutes; or give --recognizer FOLDER, --voice FOLDER or both"
        )
    return found, NOTE + "".join(f"\nNot there yet: {what}.\n" for what in missing)


def demo(args: argparse.Namespace) -> int:
    from serve.limits import Limits
    from serve.server import serve

    folders, note = models(args.recognizer, args.voice)
    if args.precision is None:
        args.precision = "32" if args.recognizer or args.voice else "int8"
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    return serve(folders, args, Limits(), demo=True, note=note)
