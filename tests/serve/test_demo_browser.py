"""The page with the models of the digits in Chromium: python -m pytest -m slow tests/serve/test_demo_browser.py"""

import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from demo_server import served

from speech.cli_demo import BUNDLE
from speech.open import open_recognizer, open_synthesizer

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"),
    pytest.mark.skipif(not all(f.is_dir() for f in BUNDLE.values()), reason="the recipes egs/digits were not run"),
]
SAID = "seven three zero five one"
WINDOWS = [(390, "light"), (390, "dark"), (1280, "light"), (1280, "dark")]


@pytest.fixture(scope="module")
def recognizer():
    return open_recognizer(BUNDLE["recognizer"], "cpu", "int8", threads=1)


@pytest.fixture(scope="module")
def voice():
    return open_synthesizer(BUNDLE["voice"], "cpu", "int8", threads=1)


@pytest.fixture(scope="module")
def address(recognizer, voice):
    with served({"recognizer": recognizer, "voice": voice}) as address:
        yield address


@pytest.fixture(scope="module")
def recording(voice, tmp_path_factory) -> Path:
    sound, _ = voice.waveform(SAID)
    sound = np.concatenate([np.zeros(2000), sound, np.zeros(4000)])
    sf.write(path := tmp_path_factory.mktemp("rec") / "digits.wav", sound, voice.sample_rate)
    return path


@pytest.fixture(scope="module")
def chromium(recording):
    fake = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", *fake, f"--use-file-for-fake-audio-capture={recording}"]
        )
        yield browser
        browser.close()


@pytest.fixture(params=WINDOWS[-1:], ids=str)
def page(request, chromium, address):
    width, scheme = request.param
    context = chromium.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    faults, foreign = [], []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda r: foreign.append(r.url) if not r.url.startswith((address, "data:", "blob:")) else None)
    page.goto(address)
    page.get_by_role("tab", name="Transcribe").wait_for()
    yield page
    assert not faults and not foreign
    context.close()


def button(page, name: str):
    return page.get_by_role("button", name=name, exact=True)


def transcribe(page, path: Path) -> None:
    page.set_input_files("input[type=file]", path)
    page.get_by_label("Play", exact=True).first.wait_for()
    button(page, "Transcribe").click()


def test_an_upload_becomes_text_and_subtitles(page, recording, recognizer):
    transcribe(page, recording)
    page.locator(".segment").first.wait_for()
    assert page.locator("textarea:visible").first.input_value() == SAID
    assert page.locator(".word").all_inner_texts()[0].startswith("seven")
    with page.expect_download() as download:
        page.get_by_text("srt", exact=True).click()
    assert download.value.suggested_filename == "transcript.srt"
    assert Path(download.value.path()).read_text() == recognizer.transcribe(recording).render("srt")


def test_typed_digits_are_heard_again(page, recognizer):
    page.get_by_role("tab", name="Synthesize").click()
    page.locator("textarea:visible").first.fill("eight two. six!")
    button(page, "Speak").click()
    page.locator(".mel b").first.wait_for()
    with page.expect_download() as download:
        page.get_by_label("Download").first.click()
    assert recognizer.transcribe(download.value.path()).text == "eight two six"


def test_a_broken_file_is_told(page, tmp_path):
    (path := tmp_path / "broken.wav").write_bytes(b"RIFF1234WAVEfmt bad")
    page.set_input_files("input[type=file]", path)
    page.wait_for_timeout(1000)
    button(page, "Transcribe").click()
    page.get_by_text("file: cannot be decoded").wait_for()


def test_the_live_microphone_shows_text_while_it_runs(page):
    page.get_by_text("Live microphone").click()
    page.wait_for_timeout(1500)  # gradio loads its recorder
    button(page, "Record").last.click()
    end = time.monotonic() + 30
    while "three zero" not in " ".join(box.input_value() for box in page.locator("textarea:visible").all()):
        assert time.monotonic() < end
        page.wait_for_timeout(500)


@pytest.mark.parametrize("page", WINDOWS, indirect=True, ids=str)
def test_nothing_is_wider_than_the_window(page, recording, tmp_path):
    transcribe(page, recording)
    page.locator(".segment").first.wait_for()
    for tab in ("Transcribe", "Synthesize"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(500)
        page.screenshot(path=tmp_path / f"{tab}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
