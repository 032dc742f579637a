"""`speech export`: model folders to ONNX graphs."""

import argparse
from pathlib import Path

from speech.errors import SpeechError
from speech.onnx_folder import PRECISIONS, is_voice


def add_export(commands) -> None:
    p = commands.add_parser("export", help="write a model folder as ONNX graphs, or check such", allow_abbrev=False)
    p.add_argument("model", help="model folder")
    p.add_argument("out", help="folder to write")
    p.add_argument("--precision", nargs="+", choices=tuple(PRECISIONS), default=[], metavar="P",
                   help=f"one or several of {', '.join(PRECISIONS)}; int8 is for the CPU (default: 32)")  # fmt: skip
    p.add_argument("--check", nargs="*", metavar="AUDIO",
                   help="write nothing: compare OUT with the model, on noise and these audio files")  # fmt: skip
    p.add_argument("--cuda_stub", metavar="DIR", help="with --check: also find the kernels that CUDA would choose, by"
                   " build_stub.py and check_graph.py of this folder")  # fmt: skip
    p.add_argument("--piper", action="store_true", help="write a voice for piper: voice.onnx and voice.onnx.json")
    p.add_argument("--triton", action="store_true", help="OUT is a model of a repository of Triton: config.pbtxt, 1/")
    p.set_defaults(run=export)


def export(args: argparse.Namespace) -> int:
    if args.check is not None:
        return check(args)
    if args.cuda_stub is not None:
        raise SpeechError(f"--cuda_stub {args.cuda_stub}: only --check looks at it")
    source, out, precisions = Path(args.model), Path(args.out), args.precision or ["32"]
    if args.piper:
        from export.piper import export_piper

        if precisions != ["32"] or args.triton:
            raise SpeechError("--piper writes one voice, of --precision 32 and without --triton")
        export_piper(source, out)
    elif args.triton:
        from export.triton import export_triton

        if len(precisions) > 1:
            raise SpeechError(f"--precision {' '.join(precisions)}: a model of Triton has one; write one for each")
        export_triton(source, out, precisions[0])
    elif is_voice(source):
        from export.voice_package import export_voice

        export_voice(source, out, precisions)
    else:
        from export.package import export_aed

        export_aed(source, out, precisions)
    what = " for piper" if args.piper else " for Triton" if args.triton else ""
    print(f"{out}: {', '.join(precisions)}{what}")
    return 0


def check(args: argparse.Namespace) -> int:
    failed, source, out = 0, Path(args.model), Path(args.out, "1" if args.triton else "")
    tools = Path(args.cuda_stub) if args.cuda_stub is not None else None
    if is_voice(source):
        from export.voice_check import check_voice

        if args.check:
            raise SpeechError(f"{source} is a voice: --check takes no audio")
        found = check_voice(source, out, args.precision, tools)
    else:
        from export.check import check as check_recognizer

        found = check_recognizer(source, out, args.precision, args.check, tools)
    for what, fault in found:
        print(f"FAIL  {what}: {fault}" if fault else f"ok    {what}", flush=True)
        failed += bool(fault)
    return 1 if failed else 0
