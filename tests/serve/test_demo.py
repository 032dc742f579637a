"""The page says what the runtime says, tells faults in a sentence and gives no file but the visitor's own."""

import json
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile as sf
from demo_server import served
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from tiny_voice import fastspeech, parts, saved

from serve import demo
from serve.pictures import clock, transcript_picture
from serve.synthesize_tab import phonemes_of, text_of
from speech import cli_demo
from speech.errors import SpeechError
from speech.open import open_recognizer, open_synthesizer
from speech.reading import read
from speech.talker import Manner
from speech.transcript import WRITERS, Segment, Transcript, Word

SECRET = "canary-5d1c"
TEXT = "eins zwei [[500ms]] drei. Vier"


@pytest.fixture(scope="module")
def recognizer(tiny_model: Path):
    return open_recognizer(tiny_model, "cpu")


@pytest.fixture(scope="module")
def voice(tmp_path_factory):
    return open_synthesizer(saved(tmp_path_factory.mktemp("voice"), fastspeech(), parts()), "cpu")


@pytest.fixture(scope="module")
def address(recognizer, voice):
    with served(recognizer, voice) as address:
        yield address


@pytest.fixture(scope="module")
def client(address: str, tmp_path_factory):
    return Client(address, verbose=False, download_files=tmp_path_factory.mktemp("got"), analytics_enabled=False)


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    rng = np.random.default_rng(5)
    sf.write(path := tmp_path_factory.mktemp("rec") / "a.wav", rng.normal(size=16000) * 0.1, 8000)
    return path


def refused(client: Client, *args, api_name: str) -> str:
    with pytest.raises(AppError) as error:
        client.predict(*args, api_name=api_name)
    message = str(error.value)
    assert not re.search(r"Traceback|\.py|/(tmp|etc|home|usr)/", message)
    return message


def test_a_transcript_is_the_runtimes_in_every_format(client, recognizer, recording):
    text, picture, *files, _ = client.predict(handle_file(recording), api_name="/transcribe")
    found = recognizer.transcribe(recording, word_timestamps=True)
    assert text == found.text and text
    assert [Path(file).read_text() for file in files] == [found.render(name) for name in WRITERS]
    assert all(f"{word.start:.2f}" in picture for word in found.words)


def test_options_reach_the_search(client, recognizer, recording):
    text, *_ = client.predict(handle_file(recording), beam=4, hotwords="seven:2", api_name="/transcribe")
    assert text == recognizer.transcribe(recording, beam_size=4, hotwords={"seven": 2.0}).text
    assert "99" in refused(client, handle_file(recording), "en", "transcribe", "en", 99, "", api_name="/transcribe")


def test_speech_is_the_runtimes_and_its_phonemes_say_the_same(client, voice):
    how = {"speaker": "Bo", "language": "fr", "length_scale": 1.3, "pitch_scale": 1.2, "pause_scale": 2.0}
    wav, phonemes, picture = client.predict(TEXT, **how, api_name="/synthesize")
    expected, _ = voice.waveform(TEXT, Manner(**how))
    assert sf.read(wav)[0] == pytest.approx(expected, abs=1e-4)
    again, *_ = client.predict(phonemes, **how, api_name="/speak_phonemes")
    assert Path(again).read_bytes() == Path(wav).read_bytes()
    assert picture.count("<img") == len(phonemes.splitlines()) == 2
    other, *_ = client.predict(phonemes.replace("z", "s"), **how, api_name="/speak_phonemes")
    assert Path(other).read_bytes() != Path(wav).read_bytes()


@pytest.mark.parametrize("text", [TEXT, "[[1s]] a, b! c", "eins [[20ms]]"])
def test_phonemes_to_edit_lose_nothing(voice, text):
    readings = read(text, voice.parts)
    again = read("\n".join(text_of(phonemes_of(reading)) for reading in readings), voice.parts)
    assert [i for r in again for i in r.ids[1:-1]] == [i for r in readings for i in r.ids[1:-1]]
    assert [list(r.pauses.values()) for r in again if r.pauses] == [
        list(r.pauses.values()) for r in readings if r.pauses
    ]


def test_long_sentences_of_phonemes_are_cut_between_words(voice):
    (reading,) = read("lang und laenger " * 15, voice.parts)
    again = read(text_of(phonemes_of(reading)), voice.parts)
    assert len(again) > 1 and " ".join("".join(r.phonemes) for r in again) == "".join(reading.phonemes)


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"RIFF1234WAVEfmt bad", b"ffconcat version 1.0\nfile /etc/passwd", b"\0" * 99]
)
def test_a_broken_file_is_told_in_a_sentence(client, tmp_path, data):
    (path := tmp_path / "secret-name.wav").write_bytes(data)
    message = refused(client, handle_file(path), api_name="/transcribe")
    assert message.startswith("file: ") and "secret-name" not in message


def test_wrong_texts_are_told(client):
    assert "no letter" in refused(client, " ", "Anna", api_name="/synthesize")
    assert "no phoneme" in refused(client, "q\nx", "Anna", api_name="/speak_phonemes")
    assert "4096" in refused(client, "a" * 5000, "Anna", api_name="/synthesize")
    assert "recording first" in refused(client, None, api_name="/transcribe")


NAMES = ["../../etc/x.wav", "..%2f..%2fx.wav", "a\\..\\b.wav", "<img src=x onerror=alert(1)>.wav", "é🎤.wav", ".env",
         "CON", "a" * 400, "x.svg", "-rf.wav"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_of_uploads_are_only_names(client, address, recording, recognizer, name):
    files = {"files": (name, recording.read_bytes(), "audio/wav")}
    (path,) = httpx.post(f"{address}/gradio_api/upload", files=files).json()
    assert Path(path).resolve().is_relative_to(Path(os.environ["GRADIO_TEMP_DIR"]).resolve())
    text, *_ = client.predict({"path": path, "meta": {"_type": "gradio.FileData"}}, api_name="/transcribe")
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
def test_no_address_is_fetched_for_a_visitor(client, address, route):
    assert httpx.get(f"{address}/gradio_api/{route}").status_code in (400, 403, 404)
    message = refused(
        client, {"path": "http://example.org/a.wav", "meta": {"_type": "gradio.FileData"}}, api_name="/transcribe"
    )
    assert message == "give a file, not an address"


def test_page_names_no_other_host_and_no_file_of_ours(address):
    config = httpx.get(f"{address}/config").text
    assert not re.search(r"googleapis|gstatic", config + httpx.get(f"{address}/theme.css").text)
    assert os.environ["GRADIO_TEMP_DIR"] not in config and os.listdir(".") == []


def test_uploads_above_the_limit_are_refused(address):
    files = {"files": ("a.wav", b"\0" * (26 << 20), "audio/wav")}
    assert httpx.post(f"{address}/gradio_api/upload", files=files).status_code == 413


def test_what_visitors_leave_is_deleted_and_examples_stay(recognizer, recording, monkeypatch):
    monkeypatch.setattr(demo, "KEPT_SECONDS", 1)
    with served(recognizer, None, "", [recording]) as address:
        example, folder = next(Path(os.environ["GRADIO_TEMP_DIR"]).rglob("a.wav")), Path(os.environ["GRADIO_TEMP_DIR"])
        client = Client(address, verbose=False, analytics_enabled=False)
        client.predict(handle_file(recording), api_name="/transcribe")
        assert len([*folder.rglob("transcript.*")]) == len(WRITERS)
        end = time.monotonic() + 20
        while (left := [path for path in folder.rglob("*.*") if path.is_file()]) != [example]:
            assert time.monotonic() < end, left
            time.sleep(0.2)
    assert not folder.exists()


def test_what_was_heard_is_no_html():
    evil = "<script>alert(1)</script>"
    segment = Segment(0, 0.0, 0.5, evil, [], -1.0, 1.0, doubts=[evil], words=[Word(evil, 0.0, 0.5, 0.3)])
    picture = transcript_picture(Transcript(evil, [segment], "en", 1.0), wav_of(np.zeros(8000)))
    assert "<script" not in picture and picture.count("&lt;script") == 3 and "doubtful" in picture


def wav_of(samples: np.ndarray) -> bytes:
    import io

    sf.write(out := io.BytesIO(), samples, 8000, format="WAV")
    return out.getvalue()


def test_clock():
    assert [clock(s) for s in (0, 59.96, 3599.99, 3661.25)] == ["0:00.0", "1:00.0", "1:00:00.0", "1:01:01.2"]


def test_without_the_digits_it_says_how_to_make_them(monkeypatch, tmp_path):
    monkeypatch.setattr(cli_demo, "BUNDLE", {name: tmp_path / name for name in cli_demo.BUNDLE})
    with pytest.raises(SpeechError, match=r"egs/digits/run\.sh.*egs/digits/tts/run\.sh.*--recognizer FOLDER"):
        cli_demo.models(None, None)
    (tmp_path / "voice").mkdir()
    (tmp_path / "voice" / "config.json").write_text(json.dumps({}))
    found, note = cli_demo.models(None, None)
    assert list(found) == ["voice"] and "`bash egs/digits/run.sh` makes the recognizer" in note
    assert cli_demo.models("mine", None) == ({"recognizer": Path("mine")}, "")
