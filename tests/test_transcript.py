import json
import math
import os

import pytest

from speech.errors import SpeechError
from speech.subtitles import to_srt, to_tsv, to_txt, to_vtt
from speech.transcript import WRITERS, Segment, Transcript, Word, compression_ratio

WORDS = [Word(" fünf", 0.25, 0.5, 0.75)]
TRANSCRIPT = Transcript(
    "fünf sechs",
    [Segment(0, 0.0, 1.5, "fünf", [7, 8], -0.5, 0.75, words=WORDS), Segment(1, 1.5, 2.0, "sechs", [9], -0.25, 0.5)],
    "de",
    2.0,
)


def test_json_has_the_keys_of_whisper():
    text = TRANSCRIPT.render("json")
    assert text.endswith("}\n") and "fünf" in text
    values = json.loads(text)
    assert values == TRANSCRIPT.to_dict()
    assert {"text", "segments", "language"} < set(values)
    assert values["segments"][0] == {
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": 1.5,
        "text": "fünf",
        "tokens": [7, 8],
        "temperature": 0.0,
        "avg_logprob": -0.5,
        "compression_ratio": 0.75,
        "no_speech_prob": 0.0,
        "token_logprobs": [],
        "doubts": [],
        "words": [{"word": " fünf", "start": 0.25, "end": 0.5, "probability": 0.75}],
    }


def test_confidence_is_the_mean_probability_of_the_tokens():
    assert TRANSCRIPT.confidence == 0.0
    sure, unsure = (Segment(0, 0, 1, "a", [1], 0, 1, token_logprobs=[math.log(p)] * n) for p, n in ((0.9, 1), (0.3, 2)))
    found = Transcript("a a", [sure, unsure], "en", 2.0)
    assert found.confidence == pytest.approx(0.5) == found.to_dict()["confidence"]


def test_words_of_all_segments():
    assert TRANSCRIPT.words == WORDS


@pytest.mark.parametrize("name, write", [("txt", to_txt), ("srt", to_srt), ("vtt", to_vtt), ("tsv", to_tsv)])
def test_other_formats_are_those_of_the_segments(name, write):
    assert TRANSCRIPT.render(name) == write(TRANSCRIPT.segments)


def test_saved_files_hold_what_is_rendered(tmp_path):
    for name in WRITERS:
        TRANSCRIPT.save(tmp_path / f"a.{name}", name)
        assert (tmp_path / f"a.{name}").read_bytes() == TRANSCRIPT.render(name).encode("utf-8")
    assert sorted(os.listdir(tmp_path)) == ["a.json", "a.srt", "a.tsv", "a.txt", "a.vtt"]


def test_an_unknown_format_is_named_and_nothing_is_written(tmp_path):
    with pytest.raises(SpeechError, match="output format 'doc' is unknown; there are txt, vtt, srt, tsv, json"):
        TRANSCRIPT.save(tmp_path / "a.doc", "doc")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("fault", ["write", "replace"])
def test_a_failing_save_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, fault):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def full(*args):
        raise OSError(28, "No space left on device")

    if fault == "write":
        monkeypatch.setattr("pathlib.Path.write_bytes", full)
    else:
        monkeypatch.setattr(os, "replace", full)
    with pytest.raises(SpeechError, match=r"a\.txt: cannot be written \(No space left on device\)"):
        TRANSCRIPT.save(path, "txt")
    assert (os.listdir(tmp_path), path.read_text()) == (["a.txt"], "old")


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    for folder, reason in [("none", "No such file or directory"), ("file", "Not a directory")]:
        with pytest.raises(SpeechError, match=rf"{folder}/a\.txt: cannot be written \({reason}\)$"):
            TRANSCRIPT.save(tmp_path / folder / "a.txt", "txt")


def test_a_loop_compresses_well():
    assert compression_ratio("") == 0.0
    assert compression_ratio("the cat sat on the mat") < 2.4 < compression_ratio("and then " * 30)
