"""`speech export`: model folders to ONNX graphs."""

import argparse
from pathlib import Path

from speech.onnx_folder import PRECISIONS


def add_export(commands) -> None:
    p = commands.add_parser("export", help="write a model folder as ONNX graphs", allow_abbrev=False)
    p.add_argument("model", help="model folder")
    p.add_argument("out", help="folder to write")
    p.add_argument("--precision", nargs="+", choices=tuple(PRECISIONS), default=["32"], metavar="P",
                   help=f"one or several of {', '.join(PRECISIONS)}; int8 is for the CPU (default: 32)")  # fmt: skip
    p.set_defaults(run=export)


def export(args: argparse.Namespace) -> int:
    from export.package import export_aed

    export_aed(Path(args.model), Path(args.out), args.precision)
    print(f"{args.out}: {', '.join(args.precision)}")
    return 0
