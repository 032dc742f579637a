"""`speech serve` and what it says when it cannot."""

import os
import signal
import socket

import pytest
import uvicorn
from starlette.testclient import TestClient

from serve import sessions
from serve.server import KEYS, _door, main, open_models
from speech.cli import main as speech
from speech.errors import SpeechError


@pytest.fixture
def seen(monkeypatch):
    """Answers to GET / of the applications that would have been served, and what lay in their working directory."""
    found, before = [], signal.getsignal(signal.SIGTERM)

    def run(self, sockets):
        with TestClient(self.config.app) as client:
            found.append((client.get("/"), os.listdir(".")))

    monkeypatch.setattr(uvicorn.Server, "run", run)
    monkeypatch.delenv(KEYS, raising=False)
    yield found
    signal.signal(signal.SIGTERM, before)


def test_the_page_is_there_where_it_is_asked_for(exported, seen):
    arguments = ["--model", f"tiny={exported}", "--device", "cpu", "--port", "0"]
    for demo in ([], ["--demo", "false"], ["--demo", "true"]):
        assert main([*arguments, *demo]) == 0
    assert [answer.status_code for answer, _ in seen] == [404, 404, 200]
    assert seen[0][0].json()["error"]["message"] == "Not Found"
    assert "Parlance" in seen[2][0].text and seen[2][1] == []


def test_a_missing_gpu_is_told_once_for_all_models(exported, voice_folders, monkeypatch, caplog):
    monkeypatch.setattr(sessions, "cuda_fault", lambda: "there is none")
    for _ in range(2):
        open_models({"a": exported, "b": exported, "c": voice_folders["fastspeech"][1]}, "auto", "32", 1)
    assert caplog.text.count("no CUDA (there is none)") == 1


def test_answers_do_not_wait_for_the_client_to_acknowledge_a_part():
    with _door("127.0.0.1", 0) as door, socket.create_connection(door.getsockname()), door.accept()[0] as accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_keys_of_the_environment_close_the_page(exported, seen, monkeypatch, command):
    monkeypatch.setenv(KEYS, "one, two")
    arguments = {"serve": ["--demo", "true", "--model", f"tiny={exported}"], "demo": ["--recognizer", f"{exported}"]}
    with pytest.raises(SystemExit) as end:
        speech([command, *arguments[command], "--device", "cpu", "--port", "0"])
    assert end.value.code == 0 and seen[0][0].status_code == 401


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "tiny"], "--model tiny: give NAME=FOLDER"),
        (["--model", "a={tiny}", "--model", "a={tiny}"], "each name once"),
        (["--model", "a=nowhere"], "nowhere.config.json: cannot be read"),
        (["--model", "a={tiny}", "--requests", "0"], "--requests 0 must be above 0"),
        (["--model", "a={tiny}", "--device", "cpu", "--port", "{port}"], "cannot be served .*choose others"),
    ],
)
def test_a_server_that_cannot_start_says_why(exported, arguments, message):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        values = {"tiny": exported, "port": taken.getsockname()[1]}
        with pytest.raises(SpeechError, match=message):
            main([argument.format(**values) for argument in arguments])
