"""Parts of a voice come back from their folder; nothing in it is trusted."""

import json
from pathlib import Path

import pytest
from tiny_voice import TOKENIZER, parts

from speech.errors import SpeechError
from speech.text.phonemes import load_phonemizer
from speech.text.tokenizer import Tokenizer
from speech.voice_parts import VoiceParts, load_parts, save_parts


def told(found: VoiceParts) -> tuple:
    return found.tokenizer.pieces, [p.settings() for p in found.phonemizers], found.speakers


@pytest.mark.parametrize("languages", [("de",), ("de", "fr", "pt-br")], ids=len)
@pytest.mark.parametrize("speakers", [(), ("Anna",), ("Zoë", "Bo", "李 明")], ids=len)
def test_a_folder_brings_them_back(speakers, languages, tmp_path: Path):
    voice = parts(speakers, languages)
    save_parts(tmp_path / "voice", voice)
    assert told(load_parts(tmp_path / "voice")) == told(voice)
    assert (tmp_path / "voice" / "speakers.json").exists() == bool(speakers)
    stored = json.loads((tmp_path / "voice" / "phonemizer.json").read_text())
    assert isinstance(stored, dict) == (len(languages) == 1)


def test_a_folder_that_is_written_again_keeps_no_old_speaker(tmp_path: Path):
    save_parts(tmp_path, parts(("Anna", "Bo")))
    save_parts(tmp_path, parts(()))
    assert load_parts(tmp_path).speakers == []


def test_names_are_places():
    voice = parts(("Anna", "Bo"), ("de", "fr"))
    assert [voice.speaker_id(name) for name in ("Anna", "Bo")] == [0, 1]
    assert [voice.phonemizer(language)[0] for language in (None, "de", "fr")] == [0, 0, 1]
    assert voice.phonemizer("fr")[1].language == "fr"
    assert parts(()).speaker_id(None) == parts(("Anna",)).speaker_id(None) == parts(("Anna",)).speaker_id("Anna") == 0


@pytest.mark.parametrize(
    ("speakers", "name", "message"),
    [
        (("Anna", "Bo"), None, "^the voice has 2 speakers: set speaker to Anna, Bo$"),
        (("Anna", "Bo"), "anna", "^speaker 'anna' is none of Anna, Bo$"),
        (("Anna", "Bo"), "", "^speaker '' is none of Anna, Bo$"),
        ((), "Anna", "^speaker 'Anna' is unknown: the voice has one speaker without a name$"),
        ([f"s{i}" for i in range(99)], "x" * 1000, "^speaker 'x{40}' is none of s0, .*, s39 and 59 more$"),
    ],
)
def test_a_speaker_that_is_missing_or_unknown_is_told_who_there_is(speakers, name, message):
    with pytest.raises(SpeechError, match=message):
        parts(speakers).speaker_id(name)


def test_an_unknown_language_is_told_which_there_are():
    with pytest.raises(SpeechError, match="^language 'en' is none of de, fr$"):
        parts().phonemizer("en")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("speakers.json", '{"Anna": 0}', "speakers.json: not a list of names"),
        ("speakers.json", '["Anna", 3]', "speakers.json: not a list of names"),
        ("speakers.json", '["Anna", "Bo", "Anna"]', "speaker 'Anna' stands in the voice twice"),
        ("speakers.json", '["Anna\\nBo"]', "speaker .* is no name"),
        ("speakers.json", '["Anna", ""]', "speaker '' is no name"),
        ("speakers.json", '["\\ud800"]', "speaker .* is no name"),
        ("speakers.json", json.dumps(["x" * 101]), "speaker 'x{40}' is no name: 1 to 100 characters"),
        ("speakers.json", "[" * 100_000, "speakers.json: not JSON"),
        ("phonemizer.json", "[]", "phonemizer.json: not a JSON object or a list of them"),
        ("phonemizer.json", '[{"kind": "lexicon", "language": "de"}, 3]', "not a JSON object or a list of them"),
        ("phonemizer.json", '[{"kind": "lexicon", "language": "x"}]', "language 'x' is not a code"),
        ("phonemizer.json", json.dumps([{"kind": "phonemes", "language": "de"}] * 2), "language 'de' stands .* twice"),
        ("tokenizer.json", '{"kind": "x"}', "kind 'x' is not one of"),
    ],
)
def test_files_are_not_trusted(name, content, message, tmp_path: Path):
    save_parts(tmp_path, parts())
    (tmp_path / name).write_text(content)
    with pytest.raises(SpeechError, match=message) as caught:
        load_parts(tmp_path)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokens.txt", "phonemizer.json"])
def test_a_missing_file_is_named(name, tmp_path: Path):
    save_parts(tmp_path, parts())
    (tmp_path / name).unlink()
    with pytest.raises(SpeechError, match="tokenizer.model" if name == "tokenizer.json" else name):
        load_parts(tmp_path)


def test_a_recognisers_tokenizer_is_no_voice(tmp_path: Path):
    Tokenizer.train(["zero one two three four"], tmp_path / "tokenizer.model", 30, byte_fallback=False)
    with pytest.raises(SpeechError, match="its tokenizer has no phonemes"):
        load_parts(tmp_path)


def test_a_voice_reads_at_least_one_language():
    with pytest.raises(SpeechError, match="needs a phonemizer"):
        VoiceParts(TOKENIZER, [])
    assert VoiceParts(TOKENIZER, [load_phonemizer({"kind": "phonemes", "language": "de"})]).speakers == []
