"""Bulk work: each recording once, whatever the shards and whenever it is killed."""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speech.bulk import Results, Stopped, recordings, share, to_line
from speech.cli import main
from speech.errors import AudioError, SpeechError
from speech.transcript import Transcript

SAID = Transcript("你好\u2028", [], "zh", 1.5)


def run(*argv: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["transcribe", *map(str, argv)])
    return ended.value.code if isinstance(ended.value.code, int) else 0


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Seven recordings and one that is none, in folders."""
    for i in range(7):
        path = tmp_path / "corpus" / f"{i % 2}" / f"{i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(i).normal(size=4000 + 1000 * i).clip(-3, 3) / 10
        soundfile.write(path, noise, 8000)
    (tmp_path / "corpus" / "bad.WAV").write_text("no audio")
    (tmp_path / "corpus" / "notes.txt").write_text("no audio either")
    return tmp_path / "corpus"


def rows(path: Path) -> dict[str, dict]:
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    found = {line["path"]: line for line in lines}
    assert len(found) == len(lines), "a path is there twice"
    return found


def rounded(value):
    """Other batches move the last digits of floats."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return pytest.approx(value, abs=2e-4) if isinstance(value, float) else value


def test_shards_hold_together_what_one_run_holds_and_a_second_run_adds_nothing(
    exported: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    whole = tmp_path / "new" / "all.jsonl"
    assert run(exported, corpus, "--jsonl", whole, "--segments", "--word_timestamps") == 1
    said = capsys.readouterr()
    assert "error: 1 of 8 files failed; remove their lines" in said.err and not said.out
    expected = rows(whole)
    assert {Path(path).name for path in expected} == {*(f"{i}.wav" for i in range(7)), "bad.WAV"}
    parts: dict[str, dict] = {}
    for i in (1, 2, 3):
        part = tmp_path / f"{i}.jsonl"
        listed = tmp_path / "list.txt"
        listed.write_text("\n".join([*expected, "", *expected]) + "\n")
        code = run(exported, "--list", listed, "--jsonl", part, "--shard", f"{i}/3", "--segments", "--word_timestamps")
        assert code == any("error" in row for row in rows(part).values())
        assert not parts.keys() & rows(part).keys() and len(rows(part)) < 8
        parts |= rows(part)
    assert parts == rounded(expected)  # hashes of the paths, and so the batches, are others in every run
    before = whole.read_bytes()
    assert run(exported, corpus, corpus / "0" / ".." / "bad.WAV", corpus / "." / "bad.WAV", "--jsonl", whole) == 1
    assert whole.read_bytes()[: len(before)] == before and len(rows(whole)) == 9  # `..` may lead elsewhere
    assert not [path for path in Path().glob("*.json")]


def test_a_line_has_what_the_transcript_has(exported: Path, corpus: Path, tmp_path: Path):
    wav = corpus / "1" / "5.wav"
    assert run(exported, wav, "-o", tmp_path, "-f", "json", "--word_timestamps", "--quiet") == 0
    transcript = json.loads((tmp_path / "5.json").read_text())
    segments = transcript["segments"]
    assert transcript["text"] and segments[0]["words"]
    plain = {name: transcript[name] for name in ("text", "language", "duration", "confidence")} | {"path": str(wav)}
    words = [word for segment in segments for word in segment["words"]]
    wanted = {"plain": ([], plain), "words": (["--word_timestamps"], {**plain, "words": words})}
    wanted["all"] = ["--word_timestamps", "--segments"], {**plain, "segments": segments}
    for name, (flags, row) in wanted.items():
        assert run(exported, wav, "--jsonl", tmp_path / name, "--quiet", *flags) == 0
        assert list(rows(tmp_path / name).values()) == [row]


def test_killed_in_the_middle_it_goes_on_and_lets_no_other_in(exported: Path, corpus: Path, tmp_path: Path):
    pipe, out = corpus / "zz.wav", tmp_path / "out.jsonl"
    os.mkfifo(pipe)  # its reader waits: by then the others of its batches are done
    command = [sys.executable, "-c", "from speech.cli import main; main()", "transcribe", exported, corpus, "--jsonl"]
    command += [out, "--batch_size", "1", "--quiet", "--threads", "1"]
    first = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + 60
        while not out.exists() or out.read_bytes().count(b"\n") < 5:
            assert first.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        second = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert second.returncode == 2 and "another run writes to it; give each --shard its own" in second.stderr
    finally:
        first.kill()
        first.wait()
    before = out.read_bytes()
    assert str(pipe) not in rows(out)
    with out.open("ab") as file:
        file.write(to_line(str(pipe), SAID)[:-1])  # whole but for its end: not trusted
    pipe.unlink()
    pipe.write_bytes((corpus / "0" / "0.wav").read_bytes())
    assert subprocess.run(command, capture_output=True).returncode == 1
    assert out.read_bytes().startswith(before) and len(rows(out)) == 9
    assert rows(out)[str(pipe)]["text"] == rows(out)[str(corpus / "0" / "0.wav")]["text"] != SAID.text


def test_a_half_line_is_cut_off_wherever_it_ends(tmp_path: Path):
    one, two = to_line("a b.wav", SAID), to_line("c.wav", AudioError("is empty"))
    for end in range(len(two)):
        (tmp_path / "x").write_bytes(one + two[:end])
        with Results(tmp_path / "x") as results:
            assert results.done == {"a b.wav": False}
            results.add(two)
            assert results.done == {"a b.wav": False, "c.wav": True}
        assert (tmp_path / "x").read_bytes() == one + two


@pytest.mark.parametrize(
    "text", [b"RIFF....", b"a\n", b'{"a": 1}\n', b'["path"]\n', b'{"a": 1, "path": "b"}', b"[" * 9999]
)
def test_another_file_is_refused_and_left_alone(text: bytes, tmp_path: Path):
    (tmp_path / "x").write_bytes(text)
    with pytest.raises(SpeechError, match="x: line 1 is no result; give another --jsonl"):
        Results(tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == text


def test_a_name_that_is_no_utf8_comes_back_and_lines_are_lines(tmp_path: Path):
    name = os.fsdecode(b"\xff\xe4\xf6.wav")
    line = to_line(name, SAID)
    assert line.count(b"\n") == 1 and "你好".encode() in line
    with Results(tmp_path / "x") as results:
        results.add(line)
    with Results(tmp_path / "x") as results:
        assert results.done == {name: False}
    assert rows(tmp_path / "x")[name]["text"] == SAID.text


def test_a_full_disk_stops_the_run_and_harms_nothing(tmp_path: Path):
    line, limits = to_line("a.wav", SAID), resource.getrlimit(resource.RLIMIT_FSIZE)
    with Results(tmp_path / "x") as results:
        results.add(line)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(line) + 10, limits[1]))
        try:
            with pytest.raises(Stopped, match="x: cannot be written .*run again to go on") as stop:
                results.add(to_line("b.wav", SAID))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert stop.value.exit_code == 75 and results.done == {"a.wav": False}
    with Results(tmp_path / "x") as results:
        assert results.done == {"a.wav": False}
    assert (tmp_path / "x").read_bytes() == line


def test_shards_are_alike_in_size_and_keep_their_files_when_others_come():
    paths = [f"corpus/{i:06d}.wav" for i in range(4000)]
    shards = [share(paths, f"{i}/8") for i in range(1, 9)]
    assert sorted(path for shard in shards for path in shard) == paths
    assert all(420 < len(shard) < 580 for shard in shards)  # 500 and four standard deviations of a fair draw
    assert share(reversed(paths[1000:]), "3/8") == [path for path in reversed(shards[2]) if path >= paths[1000]]
    assert share(["./a.wav", "a.wav", "b//c.wav", "b/c.wav"], "1/1") == ["a.wav", "b/c.wav"]


def test_folders_give_their_audio_and_lists_their_lines(corpus: Path, tmp_path: Path):
    (tmp_path / "list").write_bytes(b"x y.wav\r\n\n /z \n\xff")
    found = recordings(["b.txt", str(corpus)], str(tmp_path / "list"))
    inside = [str(corpus / "0" / f"{i}.wav") for i in (0, 2, 4, 6)] + [
        str(corpus / "1" / f"{i}.wav") for i in (1, 3, 5)
    ]
    assert found == ["b.txt", *inside, str(corpus / "bad.WAV"), "x y.wav", "/z", os.fsdecode(b"\xff")]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "no audio: give files, folders, - for stdin, or --list FILE"),
        (["{tmp}"], "no file in this folder ends like audio"),
        (["--list", "{tmp}/none"], "--list {tmp}/none: cannot be read (No such file"),
        (["a.wav", "--shard", "1/2"], "--shard and --segments are for --jsonl FILE"),
        (["a.wav", "--segments"], "--shard and --segments are for --jsonl FILE"),
        (["a.wav", "--jsonl", "{tmp}/x", "--shard", "0/2"], "--shard 0/2 is not i/n with i from 1 to n"),
        (["a.wav", "--jsonl", "{tmp}/x", "--shard", "3/2"], "--shard 3/2 is not"),
        (["a.wav", "--jsonl", "{tmp}/x", "--shard", "2"], "--shard 2 is not"),
        (["a.wav", "-", "--jsonl", "{tmp}/x"], "--jsonl needs files"),
        (["a.wav", "--jsonl", "/dev/full"], "/dev/full: is no regular file"),
        (["a.wav", "--jsonl", "{tmp}/model/x"], "x: cannot be written ("),
    ],
)
def test_a_fault_is_one_line(argv: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "model").touch()
    assert run(tmp_path / "model", *(word.format(tmp=tmp_path) for word in argv)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message.format(tmp=tmp_path) in error
