"""The arrows of the house: which package may import which, read from the source."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("speech", "recipes", "export", "serve")
# module prefix -> what it may never import
FORBIDDEN = {
    "speech.audio": ("torch", "torchaudio", "lhotse", "lightning"),
    "speech.text": ("torch", "torchaudio", "lhotse", "lightning", "librosa"),
    "speech.search": ("torch", "torchaudio", "lhotse", "lightning", "librosa"),
    "speech.transcript": ("torch", "lhotse", "lightning"),
    "speech.subtitles": ("torch", "lhotse", "lightning"),
    "speech.nn": ("lhotse", "lightning", "speech.models", "speech.data", "speech.training", "jsonargparse"),
    "speech.models": ("lhotse", "lightning", "speech.data", "speech.training", "jsonargparse"),
    "speech.importers": ("lhotse", "lightning", "speech.data", "speech.training", "jsonargparse"),
    "speech.data": ("lightning", "speech.training", "speech.models", "jsonargparse"),
    "speech.training": ("lhotse", "jsonargparse"),
    "speech.recognizer": ("lhotse", "lightning", "speech.training", "speech.data"),
    "speech.folder": ("lhotse", "lightning", "speech.training", "speech.data"),
    "serve": ("torch", "onnx", "lhotse", "lightning", "speech.nn", "speech.models", "speech.training", "export"),
    "speech.onnx_folder": ("torch", "lhotse", "lightning"),
    "speech": ("serve", "tests"),
    "recipes": ("export", "serve", "tests"),
    "export": ("recipes", "tests", "lightning", "speech.training"),
}
# and only inside their functions
MAY_IMPORT_RECIPES = "speech.cli"
MAY_IMPORT_EXPORT = "speech.cli_export"
MAY_IMPORT_SERVE = ("speech.open", "speech.cli_demo")


def modules() -> Iterator[tuple[str, ast.Module]]:
    for package in OURS:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, "relative imports hide the arrows"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def under(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def test_arrows_point_one_way():
    wrong = [
        f"{name} imports {target}"
        for name, tree in modules()
        for package, refused in FORBIDDEN.items()
        if under(name, package)
        for target in imported(tree)
        if any(under(target, other) for other in refused)
        if not (name in MAY_IMPORT_SERVE and under(target, "serve"))
    ]
    assert not wrong, "\n".join(wrong)


def test_engines_have_one_door():
    doors = {
        "jsonargparse": ("speech.config",),
        "lightning": ("speech.training",),
        "lhotse": ("speech.data", "recipes"),
    }
    wrong = [
        f"{name} imports {engine}"
        for name, tree in modules()
        for engine, rooms in doors.items()
        if any(under(target, engine) for target in imported(tree)) and not any(under(name, room) for room in rooms)
    ]
    assert not wrong, "\n".join(wrong)


def test_benchmarks_find_in_each_other_what_they_import():
    """Nobody runs them for weeks; what is in our packages is pyright's to find."""
    trees = {path.stem: ast.parse(path.read_text()) for path in (ROOT / "tests/benchmarks").glob("*.py")}
    has: dict[str | None, set[str]] = {}
    for name, tree in trees.items():
        targets = [t for node in tree.body if isinstance(node, ast.Assign) for t in node.targets]
        names = {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}
        has[name] = names | {
            n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)
        }
    asked = [
        (name, node.module, alias.name)
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in has
        for alias in node.names
    ]
    assert asked and not [one for one in asked if one[2] not in has[one[1]]]


@pytest.mark.parametrize(("room", "door"), [("recipes", MAY_IMPORT_RECIPES), ("export", MAY_IMPORT_EXPORT)])
def test_nothing_but_the_command_line_imports(room: str, door: str):
    for name, tree in modules():
        if not under(name, room) and name != door:
            assert not [t for t in imported(tree) if under(t, room)], name


@pytest.mark.parametrize(
    "module",
    [
        "speech.audio.decode",
        "speech.text.prompt",
        "speech.text.load",
        "speech.search.beam",
        "speech.search.rules",
        "speech.transcript",
        "speech.talker",
        "speech.cli",
        "speech.training.config",
        "speech.config",
        "speech.open",
        "speech.bulk",
        "serve.transcriber",
        "serve.synthesizer",
        "serve.server",
    ],
)
def test_the_light_rooms_do_not_load_torch(module: str):
    heavy = ("torch", "onnx", "lhotse", "lightning", "librosa", "gradio")
    code = f"import sys, {module}; print(*(m for m in {heavy} if m in sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
