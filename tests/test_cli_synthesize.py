"""`speech synthesize` as people type it: files written, exit codes, one line for each fault."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_voice import PLAIN, fastspeech, parts, saved

from speech.audio.write import pcm16, write_audio
from speech.cli import main
from speech.synthesizer import Synthesizer
from speech.talker import Manner

LINES = ["Hallo Welt.", "Und dann, ja? So war es.", "so [[250ms]] oder so"]


@pytest.fixture(scope="module")
def voice(tmp_path_factory) -> Path:
    return saved(tmp_path_factory.mktemp("voice"), fastspeech(), parts())


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    return saved(tmp_path_factory.mktemp("plain"), fastspeech(PLAIN), parts((), ("de",)))


def run(*argv: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["synthesize", "--device", "cpu", *map(str, argv)])
    return ended.value.code if isinstance(ended.value.code, int) else 0


def test_a_file_of_texts_gives_what_each_gives_alone_and_a_bad_line_loses_no_other(plain, tmp_path, capfd):
    bad = [b"?!", b"\xff\xfe so", b"[[q]]", "мир".encode(), "so 😀".encode()]
    lines = [line for pair in zip(map(str.encode, LINES), bad, strict=False) for line in pair] + bad[3:]
    (tmp_path / "in.txt").write_bytes(b"\xef\xbb\xbf" + b"\n\n".join(lines))
    assert run("-m", plain, "-i", tmp_path / "in.txt", "-d", tmp_path / "out" / "deep") == 1
    said = capfd.readouterr()
    assert sorted(path.name for path in (tmp_path / "out" / "deep").iterdir()) == ["1.wav", "3.wav", "5.wav", "8.wav"]
    for number, line in zip((1, 3, 5, 8), [*LINES, "so"], strict=True):
        assert run("-m", plain, "-f", tmp_path / "one.wav", "--quiet", "--", line) == 0
        assert (tmp_path / "one.wav").read_bytes() == (tmp_path / "out" / "deep" / f"{number}.wav").read_bytes()
    errors = said.err.splitlines()
    assert [line.split(": ")[:2] for line in errors[:-2]] == [["error", f"text {i}"] for i in (2, 4, 6, 7)]
    assert "no letter" in errors[0] and "not UTF-8" in errors[1] and "'q'" in errors[2] and "мир" in errors[3]
    assert errors[4] == "warning: text 8: no sound for 😀"
    assert re.fullmatch(r"\d+\.\d s of audio in \d+\.\d s, RTF \d+\.\d{3}", errors[5])
    assert [line.split(": ")[0][-5:] for line in said.out.splitlines()] == ["1.wav", "3.wav", "5.wav", "8.wav"]


def test_a_file_holds_what_the_voice_says(voice, tmp_path, capsys):
    options = [
        "--speaker",
        "Bo",
        "--language",
        "fr",
        "--pause-scale",
        "2",
        "--pitch_scale",
        "1.5",
        "--energy-scale",
        "2",
    ]
    options += ["--length_scale", "1.25", "--sentence-silence", "0.5", "--volume", "0.5"]
    assert run("-m", voice, "-f", tmp_path / "new" / "a.flac", *options, "--", "Hallo Welt.", "Und dann, 3?") == 0
    manner = Manner(1.25, 2.0, 1.5, 2.0, "Bo", "fr", 0.5, 0.5)
    waveform, _ = Synthesizer(voice, "cpu").waveform("Hallo Welt. Und dann, 3?", manner)
    write_audio(tmp_path / "b.flac", waveform, 8000)
    assert (tmp_path / "new" / "a.flac").read_bytes() == (tmp_path / "b.flac").read_bytes()
    seconds = soundfile.info(tmp_path / "b.flac").duration
    assert seconds > 1 and f"a.flac: {seconds:.2f} s\n" in capsys.readouterr().out


def test_raw_samples_are_those_of_the_file(plain, tmp_path, monkeypatch, capsysbinary):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\n".join(LINES).encode())))
    assert run("-m", plain, "--output-raw", "--sentence_silence", "0.1") == 0
    talker = Synthesizer(plain, "cpu")
    waveforms = [talker.waveform(line, Manner(sentence_silence=0.1))[0] for line in LINES]
    assert capsysbinary.readouterr().out == pcm16(np.concatenate(waveforms))


@pytest.mark.parametrize("source", ["stdin", "file", "argument"])
def test_all_of_a_text_is_one_file_or_goes_down_the_pipe(source, plain, tmp_path, monkeypatch, capfdbinary):
    text = "\n".join(LINES)
    (tmp_path / "in.txt").write_text(text)
    given = {"stdin": [], "file": ["-i", tmp_path / "in.txt"], "argument": ["--", text]}[source]
    for target in ("-", tmp_path / "a.wav"):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        assert run("-m", plain, "-f", target, *given) == 0
        if target == "-":
            piped = capfdbinary.readouterr().out
    assert piped == (tmp_path / "a.wav").read_bytes()
    write_audio(tmp_path / "b.wav", Synthesizer(plain, "cpu").waveform(text)[0], 8000)
    assert piped == (tmp_path / "b.wav").read_bytes()


def test_quiet_is_quiet(plain, tmp_path, capfd):
    assert run("-m", plain, "-f", tmp_path / "a.wav", "--quiet", "--threads", "1", "--", "so") == 0
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["-m", "{voice}", "--", "so"], 2, "the voice has 2 speakers: set speaker to Anna, Bo"),
        (["-m", "{voice}", "-s", "Eve", "--", "so"], 2, "speaker 'Eve' is none of Anna, Bo"),
        (["-m", "{voice}", "-s", "Bo", "--language", "en", "--", "so"], 2, "language 'en' is none of de, fr"),
        (["-m", "{plain}", "-s", "Bo", "--", "so"], 2, "speaker 'Bo' is unknown"),
        (["-m", "{plain}", "--pitch_scale", "1.2", "--", "so"], 2, "pitch_scale 1.2: the voice has length_scale"),
        (["-m", "{plain}", "--length-scale", "9", "--", "so"], 2, "length_scale 9 is outside 0.25 ... 4"),
        (["-m", "{plain}", "--volume", "nan", "--", "so"], 2, "volume nan is outside 0 ... 10"),
        (["-m", "{tmp}/nowhere", "--", "so"], 2, "nowhere"),
        (["-m", "{plain}", "-f", "{tmp}/a.wav", "-i", "{tmp}/none.txt"], 2, "none.txt: cannot be read (No such file"),
        (["-m", "{plain}", "-i", "{tmp}/none.txt"], 2, "none.txt: cannot be read (No such file"),
        (["-m", "{plain}", "-d", "{plain}/config.json", "--", "so"], 2, "give another --output_dir"),
        (["-m", "{plain}", "-f", "{tmp}/a.xyz", "--", "so"], 1, "suffix '.xyz' is none of .wav"),
        (["-m", "{plain}", "-f", "{tmp}/a.wav", "--", "?!"], 1, "text 1: no letter and no digit"),
    ],
)
def test_a_fault_is_one_line(argv, code, message, voice, plain, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert run(*(word.format(voice=voice, plain=plain, tmp=tmp_path) for word in argv)) == code
    said = capfd.readouterr()
    assert said.err.startswith("error: ") and said.err.count("\n") == 1 and message in said.err and not said.out
    assert not list(tmp_path.iterdir())
