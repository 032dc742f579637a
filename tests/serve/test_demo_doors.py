"""Of the page nothing is to be had but the visitor's own files, and with keys nothing at all without one."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile as sf
from demo_server import refused, served
from gradio_client import Client, handle_file

SECRET = "canary-5d1c"
PAGE = ["/", "/config", "/theme.css", "/login", "/docs", "/metrics", "//health", "/health/", "/nowhere",
        "/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/call/transcribe", "/gradio_api/reset"]  # fmt: skip
NAMES = ["../../etc/x.wav", "..%2f..%2fx.wav", "a\\..\\b.wav", "<img src=x onerror=alert(1)>.wav", "é🎤.wav", ".env",
         "CON", "a" * 400, "x.svg", "-rf.wav"]  # fmt: skip


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"RIFF1234WAVEfmt bad", b"ffconcat version 1.0\nfile /etc/passwd", b"\0" * 99]
)
def test_a_broken_file_is_told_in_a_sentence(visitor, tmp_path, data):
    (path := tmp_path / "secret-name.wav").write_bytes(data)
    message = refused(visitor, handle_file(path), api_name="/transcribe")
    assert message.startswith("file: ") and "secret-name" not in message


@pytest.mark.parametrize("name", NAMES)
def test_names_of_uploads_are_only_names(visitor, address, recording, recognizer, name):
    files = {"files": (name, recording.read_bytes(), "audio/wav")}
    (path,) = httpx.post(f"{address}/gradio_api/upload", files=files).json()
    assert Path(path).resolve().is_relative_to(Path(os.environ["GRADIO_TEMP_DIR"]).resolve())
    text, *_ = visitor.predict({"path": path, "meta": {"_type": "gradio.FileData"}}, api_name="/transcribe")
    assert text == recognizer.transcribe(recording).text


def foreign(tmp_path: Path) -> list[str]:
    sf.write(tmp_path / "other.wav", np.ones(8000) * 0.1, 8000)
    (tmp_path / "secret.txt").write_text(SECRET)
    (tmp_path / "secret.svg").write_text(f"<svg>{SECRET}</svg>")
    ours = [tmp_path / name for name in ("other.wav", "secret.txt", "secret.svg")]
    inside = os.environ["GRADIO_TEMP_DIR"]
    begins = ["", "/.", "/", "file://", "/proc/self/root", f"{inside}/../..", f"{inside}/..%2f.."]
    files = [str(path) for path in (*ours, "/etc/passwd", __file__)]
    return [begin + file for begin in begins for file in files] + [*map(os.path.relpath, files), ".", "..", "\0", ""]


def test_nothing_outside_the_folder_of_uploads_is_read(address, tmp_path):
    http = httpx.Client(base_url=address)

    def ask(path: str) -> None:
        data = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}, "en", "transcribe", "en", 1, ""]}
        event = http.post("/gradio_api/call/transcribe", json=data).json()["event_id"]
        answer = http.get(f"/gradio_api/call/transcribe/{event}").text
        assert answer.startswith("event: error"), path
        assert not re.search(r"Traceback|/tmp|/etc", answer), answer
        for route in ("gradio_api/file=", "file=", "static/", "assets/", "proxy="):
            got = http.get(httpx.URL(address).copy_with(raw_path=f"/{route}{path}".replace("\0", "%00").encode()))
            assert SECRET not in got.text and "root:" not in got.text, got.url
            assert not got.headers.get("content-type", "").startswith("audio"), got.url

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, foreign(tmp_path)))


@pytest.mark.parametrize(
    "route", ["file=http://a.org/", "/file=https:/a.org", "FILE=HTTPS://a.org", "proxy=http://a.org"]
)
def test_no_address_is_fetched_for_a_visitor(visitor, address, route):
    assert httpx.get(f"{address}/gradio_api/{route}").status_code in (400, 403, 404)
    message = refused(
        visitor, {"path": "http://example.org/a.wav", "meta": {"_type": "gradio.FileData"}}, api_name="/transcribe"
    )
    assert message == "give a file, not an address"


def test_page_names_no_other_host_and_no_file_of_ours(address):
    config = httpx.get(f"{address}/config").text
    assert not re.search(r"googleapis|gstatic", config + httpx.get(f"{address}/theme.css").text)
    assert os.environ["GRADIO_TEMP_DIR"] not in config and os.listdir(".") == []


def test_where_there_are_keys_nothing_is_to_be_had_without(recognizer, recording):
    with served({"tiny": recognizer}, keys=["other", "key"]) as address:
        http = httpx.Client(base_url=address)
        for method in ("GET", "POST", "HEAD"):
            for path in (*PAGE, "/v1/models", "/v1/nowhere"):
                answer = http.request(method, path)
                kind = "Bearer" if path.startswith("/v1/") else "Basic "
                assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith(kind), path
        for wrong in (("key", "ke"), ("key", ""), ("", ":key")):
            assert http.get("/", auth=wrong).status_code == 401
        assert http.get("/", headers={"authorization": "Basic ="}).status_code == 401
        assert http.get("/v1/models", auth=("any", "key")).status_code == 401  # else pages of others could send forms
        for right in (("", "key"), ("any", "other")):
            assert http.get("/", auth=right).status_code == http.get("/config", auth=right).status_code == 200
        assert http.get("/health").status_code == 200
        client = Client(address, verbose=False, analytics_enabled=False, headers={"authorization": "Bearer key"})
        text, *_ = client.predict(handle_file(recording), api_name="/transcribe")
        assert text == recognizer.transcribe(recording).text


def test_uploads_above_the_limit_are_refused(address):
    files = {"files": ("a.wav", b"\0" * (26 << 20), "audio/wav")}
    assert httpx.post(f"{address}/gradio_api/upload", files=files).status_code == 413
