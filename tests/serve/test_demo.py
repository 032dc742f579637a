"""The page says what the runtime says, tells faults in a sentence and gives no file but the visitor's own."""

import json
import os
import re
import shutil
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile as sf
from api_server import talk, wav
from demo_server import refused, served
from gradio_client import Client, handle_file

from serve import demo
from serve.pictures import clock, transcript_picture
from serve.synthesize_tab import phonemes_of, text_of
from speech import cli_demo
from speech.errors import SpeechError
from speech.reading import read
from speech.talker import Manner
from speech.transcript import WRITERS, Segment, Transcript, Word

SECRET = "canary-5d1c"
TEXT = "eins zwei [[500ms]] drei. Vier"


def test_a_transcript_is_the_runtimes_in_every_format(visitor, recognizer, recording):
    text, picture, *files, _ = visitor.predict(handle_file(recording), api_name="/transcribe")
    found = recognizer.transcribe(recording, word_timestamps=True)
    assert text == found.text and text
    assert [Path(file).read_text() for file in files] == [found.render(name) for name in WRITERS]
    assert all(f"{word.start:.2f}" in picture for word in found.words)


def test_text_and_progress_of_a_long_recording_move(short_pieces, tmp_path):
    (path := tmp_path / "long.wav").write_bytes(wav(talk(0, 40.0)))
    with served({"a": short_pieces, "b": short_pieces}) as address:
        client = Client(address, verbose=False, analytics_enabled=False)
        job = client.submit(handle_file(path), api_name="/transcribe_1")
        done = []
        for _ in job:
            done += [unit.index for unit in job.status().progress_data or []]
        *texts, text = [update[0] for update in job.outputs()]
        assert re.findall("Transcribe: .", httpx.get(f"{address}/config").text) == ["Transcribe: a", "Transcribe: b"]
    assert text == short_pieces.transcribe(path).text and len(set(texts)) > 3
    assert all(text.startswith(before) for before in texts)
    assert done == sorted(done) and len(set(done)) > 3


def test_options_reach_the_search(visitor, recognizer, recording):
    text, *_ = visitor.predict(handle_file(recording), beam=4, hotwords="seven:2", api_name="/transcribe")
    assert text == recognizer.transcribe(recording, beam_size=4, hotwords={"seven": 2.0}).text
    assert "99" in refused(visitor, handle_file(recording), "en", "transcribe", "en", 99, "", api_name="/transcribe")


def test_speech_is_the_runtimes_and_its_phonemes_say_the_same(visitor, voice):
    how = {"speaker": "Bo", "language": "fr", "length_scale": 1.3, "pitch_scale": 1.2, "pause_scale": 2.0}
    wav, phonemes, picture = visitor.predict(TEXT, **how, api_name="/synthesize")
    expected, _ = voice.waveform(TEXT, Manner(**how))
    assert sf.read(wav)[0] == pytest.approx(expected, abs=1e-4)
    again, *_ = visitor.predict(phonemes, **how, api_name="/speak_phonemes")
    assert Path(again).read_bytes() == Path(wav).read_bytes()
    assert picture.count("<img") == len(phonemes.splitlines()) == 2
    other, *_ = visitor.predict(phonemes.replace("z", "s"), **how, api_name="/speak_phonemes")
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


def test_wrong_texts_are_told(visitor):
    assert "no letter" in refused(visitor, " ", "Anna", api_name="/synthesize")
    assert "no phoneme" in refused(visitor, "q\nx", "Anna", api_name="/speak_phonemes")
    assert "4096" in refused(visitor, "a" * 5000, "Anna", api_name="/synthesize")
    assert "recording first" in refused(visitor, None, api_name="/transcribe")


def test_what_visitors_leave_is_deleted_and_examples_stay(recognizer, recording, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "KEPT_SECONDS", 1)
    (tmp_path / "examples").mkdir()
    shutil.copy(recording, tmp_path / "examples")
    with served({"tiny": recognizer}, {"tiny": tmp_path}) as address:
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
