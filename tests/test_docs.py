"""README and docs are true: their commands run, their links lead somewhere, the messages they explain exist.

Bash blocks run as they stand, page by page in a workspace of their own, with the flags of `SHORTER` behind them. Those
of ```bash gpu and ```bash network do not run. Python blocks run too.
"""

import ast
import importlib
import io
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout, suppress
from glob import glob
from pathlib import Path
from unittest.mock import patch

import pytest
from docs_workspace import CHECKPOINTS, ROOT, make_workspace

from speech.cli import main as speech
from speech.errors import run

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINKED = [*PAGES, ROOT / "CONTRIBUTING.md", *ROOT.glob("egs/*/README.md"), *ROOT.glob("egs/*/*/README.md")]
FENCE = re.compile(r"^```(\w*) ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = ("gpu", "network")
STEPS = "--train.max_steps 2 --train.valid_every_steps 2 --train.save_every_steps 1 --train.threads 1 --data.workers 0"
PART = "--model.{}.d_model 16 --model.{}.n_layers 1 --model.{}.n_heads 2 --model.{}.d_ff 32"
SIZES = " ".join(PART.replace("{}", part) for part in ("encoder", "decoder"))
VOICE = "--model.d_model 16 --model.encoder_layers 1 --model.decoder_layers 1"
SHORTER = {  # flags that make a command short, by the longest of these beginnings that it has
    "speech train": f"{STEPS} {SIZES} --model.encoder.subsampling_channels 8",
    "speech train --init": STEPS,
    "speech data bins": "--buckets 2",
    "speech demo": "--recognizer onnx --voice voice-onnx",
    "python -m recipes.train_aligner": STEPS,
    "python -m recipes.measure_prosody": "--workers 1",
    "python -m recipes.train_fastspeech": f"{STEPS} {VOICE}",
    "python -m recipes.evaluate_tts": "--limit 1 --examples 1",
    "python -m recipes.train_vocoder": f"{STEPS} --model.d_model 16 --model.n_layers 1 --data.crops 2",
    "curl": "--silent --show-error --fail-with-body",
}
ELSEWHERE = ("source .venv/bin/activate", "bash tests/run.sh")  # these tests run inside of both
SERVERS = {"speech demo": "localhost:7860", "speech serve": "localhost:8000"}


def commands(block: str) -> Iterator[str]:
    """Lines without comments, continued ones joined."""
    lines = (re.sub(r"(^|\s+)#.*", "", line) for line in re.sub(r"\\\n\s*", "", block).splitlines())
    yield from filter(None, lines)


def shortened(line: str) -> str:
    beginning = max((b for b in SHORTER if line.startswith(f"{b} ") or line == b), key=len, default=None)
    return line if beginning is None else f"{line} {SHORTER[beginning]}"


def expanded(line: str) -> Iterator[str]:
    for word in shlex.split(line):
        yield from sorted(glob(word)) if "*" in word else [word]


class Page:
    """Runs the blocks of a page in a folder; what they print is told where one fails."""

    def __init__(self, folder: Path):
        self.folder, self.names, self.servers, self.ports = folder, {}, [], {}
        tools = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        self.environment = os.environ | tools
        missing = [(name, made) for name, (source, made) in CHECKPOINTS.items() if not source.exists()]
        self.missing = {name for pair in missing for name in pair}  # without SPEECH_FIXTURES

    def bash(self, line: str) -> None:
        for theirs, ours in self.ports.items():
            line = line.replace(theirs, ours)
        line = shortened(line)
        if line.startswith(ELSEWHERE) or self.missing & set(line.split()):
            return
        for server, address in SERVERS.items():
            if line.startswith(server):
                self.ports[address] = self.serve(line)
                return
        stages = [stage.strip() for stage in line.split("|")]
        if not stages[-1].startswith(("speech ", "python -m recipes.")):
            done = self.shell(line)
            assert not (line.startswith("bash egs/") and done), f"options of no script: {done.decode()}"
            return
        self.ours(stages[-1], self.shell(" | ".join(stages[:-1])) if stages[:-1] else b"")

    def shell(self, line: str) -> bytes:
        command = ["bash", "-euo", "pipefail", "-c", line]
        done = subprocess.run(command, capture_output=True, cwd=self.folder, env=self.environment, timeout=60)
        assert done.returncode == 0, f"{line}\n{done.stderr.decode()}"
        return done.stdout

    def ours(self, line: str, given: bytes) -> None:
        """In this process, which has torch loaded."""
        words = list(expanded(line))
        if words[0] == "speech":
            work = lambda: speech(words[1:])  # noqa: E731
        else:
            module = importlib.import_module(words[2])
            work = lambda: run(lambda: module.main(words[3:]))  # noqa: E731
        stdin, stdout = (io.TextIOWrapper(io.BytesIO(data)) for data in (given, b""))
        with patch("sys.stdin", stdin), redirect_stdout(stdout), pytest.raises(SystemExit) as ended:
            work()
        assert not ended.value.code, line

    def python(self, block: str) -> None:
        for theirs, ours in self.ports.items():
            block = block.replace(theirs, ours)
        exec(compile(block, "a block of the page", "exec"), self.names)

    def serve(self, line: str) -> str:
        """host:port of a server that answers; it ends with the page."""
        with socket.create_server(("localhost", 0)) as door:
            port = door.getsockname()[1]
        code = "from speech.cli import main; main()"
        command = [sys.executable, "-c", code, *shlex.split(line)[1:], "--port", str(port)]
        log = (self.folder / f"{port}.log").open("w+")
        server = subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=log, stderr=log)
        self.servers.append(server)
        for _ in range(600):
            with suppress(OSError), urllib.request.urlopen(f"http://localhost:{port}/health") as answer:
                if answer.status == 200:
                    return f"localhost:{port}"
            assert server.poll() is None, f"{line}\n{Path(log.name).read_text()}"
            time.sleep(0.1)
        raise AssertionError(f"{line}: does not answer")

    def end(self) -> None:
        for server in self.servers:
            server.terminate()
        for server in self.servers:
            server.wait(30)


@pytest.fixture(scope="module")
def template(
    tiny_model: Path, exported: Path, plain_voice: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The workspace; as long as it is there, an export of its models is a copy of what was exported before."""
    from export import package, voice_package

    made = {weights(tiny_model): exported, weights(plain_voice[0]): plain_voice[1]}

    def once(work):
        def export(source: Path, out: Path, precisions: list[str]) -> None:
            assert set(precisions) <= {"32", "int8"}
            if (key := weights(source)) in made:
                shutil.copytree(made[key], out, dirs_exist_ok=True)
            else:
                work(source, out, ["32", "int8"])
                made[key] = out

        return export

    with (
        patch.object(package, "export_aed", once(package.export_aed)),
        patch.object(voice_package, "export_voice", once(voice_package.export_voice)),
    ):
        yield make_workspace(tmp_path_factory.mktemp("docs") / "workspace", tiny_model, exported, *plain_voice)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_commands_run(path: Path, template: Path, tmp_path: Path):
    shutil.copytree(template, tmp_path / "w", symlinks=True)
    page = Page(tmp_path / "w")
    try:
        with chdir(page.folder):
            for language, info, block in FENCE.findall(path.read_text(encoding="utf-8")):
                assert language not in ("sh", "shell", "console"), "commands stand in ```bash"
                if language == "bash" and info not in NOT_RUN:
                    assert not info, f"```bash {info}"
                    for line in commands(block):
                        page.bash(line)
                elif language == "python":
                    page.python(block)
                elif language == "yaml" and (name := re.match(r"# (\S+\.yaml)\n", block)):
                    Path(name[1]).write_text(block)
    finally:
        page.end()


@pytest.mark.parametrize("path", LINKED, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path):
    text = re.sub(FENCE, "", path.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", link):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        if anchor:
            titles = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}, link


def said() -> str:
    """Every text of the source, a line each, with … in the place of values."""
    texts = [(ROOT / "egs" / "common.sh").read_text()]
    for package in ("speech", "recipes", "export", "serve"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    texts.append("".join(str(p.value) if isinstance(p, ast.Constant) else "…" for p in node.values))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.append(node.value.replace("%s", "…"))
    return "\n".join(texts)


def test_messages_are_those_of_the_source():
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    messages = [" ".join(found.split()) for found in re.findall(r"^- `([^`]+)`\n", text, re.MULTILINE)]
    source = said()
    assert len(messages) > 30
    assert not [message for message in messages if not all(part in source for part in message.split("…"))]
