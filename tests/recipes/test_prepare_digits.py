"""Digits: where the corpus comes from, and what the strings joined from it are."""

import io
import os
import sys
import urllib.error
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, validate

from recipes.prepare import digits, espeak, fsdd
from recipes.prepare.strings import EDGE_SECONDS, PAUSE_SECONDS
from speech.data.manifests import load_audio
from speech.data.tsv import cuts_from_folder, read_table
from speech.errors import DataError, SpeechError

RATE = 8000
MANIFESTS = ("single-train", "single-dev", "single-test", "train", "dev", "test", "test-long")


def wav(digit: int, samples: int) -> bytes:
    """A recording that tells its digit: constant level (digit + 1) / 16."""
    data = io.BytesIO()
    soundfile.write(data, np.full(samples, (digit + 1) / 16, np.float32), RATE, format="WAV", subtype="PCM_16")
    return data.getvalue()


def archive(extra: dict[str, bytes] | None = None) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as members:
        members.writestr("free-spoken-digit-dataset-26eb/README.md", "digits")
        for speaker in ("ann", "bob"):
            for digit in range(10):
                for take in range(10):
                    name = f"free-spoken-digit-dataset-26eb/recordings/{digit}_{speaker}_{take}.wav"
                    members.writestr(name, wav(digit, 1000 + 10 * digit + take))
        for name, content in (extra or {}).items():
            members.writestr(name, content)
    return data.getvalue()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("digits")
    (out / "archive.zip").write_bytes(archive())
    digits.main(["--corpus", str(out / "archive.zip"), "--out", str(out), "--strings", "300"])
    return out


def opener(monkeypatch: pytest.MonkeyPatch, answer: bytes | Exception) -> None:
    def urlopen(url: str, timeout: float) -> io.BytesIO:
        assert url == fsdd.URL and timeout == 20
        if isinstance(answer, Exception):
            raise answer
        return io.BytesIO(answer)

    monkeypatch.delenv("SPEECH_CORPORA", raising=False)
    monkeypatch.setattr("urllib.request.urlopen", urlopen)


def test_a_string_is_its_digits_at_their_offsets_and_silence(prepared: Path):
    for cut in CutSet.from_file(prepared / "train.jsonl.gz").subset(first=60):
        (said,) = cut.supervisions
        words = (said.text or "").split()
        wave = load_audio(cut, RATE)
        levels = np.round(wave * 16).astype(int)
        edges = np.flatnonzero(np.diff(levels != 0, prepend=False, append=False))
        spoken, bounds = [], []
        for track in cut.tracks[1:]:
            start = round(track.offset * RATE)
            end = start + track.cut.num_samples
            assert len(set(levels[start:end])) == 1
            spoken.append(fsdd.WORDS[levels[start] - 1])
            bounds.append((start, end))
        assert words == spoken
        assert edges[0] == bounds[0][0] and edges[-1] == bounds[-1][1]
        assert said.start == pytest.approx(bounds[0][0] / RATE)
        assert said.end == pytest.approx(bounds[-1][1] / RATE)
        assert np.count_nonzero(levels) == sum(end - start for start, end in bounds)
        assert len(wave) == cut.num_samples
        for silence in (bounds[0][0], len(wave) - bounds[-1][1]):
            assert EDGE_SECONDS[0] <= (silence + 1) / RATE and (silence - 1) / RATE <= EDGE_SECONDS[1]
        for (_, before), (after, _) in zip(bounds, bounds[1:], strict=False):
            assert 0 <= after - before <= PAUSE_SECONDS[1] * RATE + 1


def test_lhotse_takes_the_strings_and_mixes_the_same_wave(prepared: Path):
    for cut in CutSet.from_file(prepared / "test.jsonl.gz").subset(first=20):
        validate(cut)
        np.testing.assert_allclose(cut.load_audio()[0], load_audio(cut, RATE), atol=1e-6)


def test_the_sets_are_as_asked(prepared: Path):
    sets = {name: CutSet.from_file(prepared / f"{name}.jsonl.gz") for name in MANIFESTS}
    assert {name: len(cuts) for name, cuts in sets.items()} == dict(
        zip(MANIFESTS, (40, 60, 100, 300, 200, 300, 100), strict=True)
    )
    lengths = {name: [len((cut.supervisions[0].text or "").split()) for cut in sets[name]] for name in MANIFESTS}
    assert lengths["train"].count(1) == 30 and set(lengths["train"]) == set(range(1, 7))
    assert set(lengths["dev"]) == set(lengths["test"]) == set(range(2, 7))
    assert set(lengths["test-long"]) == set(range(7, 11))
    for name, takes in {"train": range(8, 10), "dev": range(5, 8), "test": range(5), "test-long": range(5)}.items():
        for cut in sets[name]:
            sources = [track.cut.recording_id.split("_") for track in cut.tracks[1:]]
            assert {int(take) for _, _, take in sources} <= set(takes)
            assert {speaker for _, speaker, _ in sources} == {cut.supervisions[0].speaker}
    for cut in sets["single-test"]:
        assert cut.num_samples == cut.tracks[1].cut.num_samples + round(0.2 * RATE)
        assert len(cut.supervisions) == 1


def test_the_same_command_gives_the_same_bytes(prepared: Path):
    before = {name: (prepared / f"{name}.jsonl.gz").read_bytes() for name in MANIFESTS}
    arguments = ["--corpus", str(prepared / "fsdd"), "--out", str(prepared), "--strings", "300"]
    digits.main(arguments)
    assert before == {name: (prepared / f"{name}.jsonl.gz").read_bytes() for name in MANIFESTS}
    digits.main([*arguments, "--seed", "2"])
    assert before["train"] != (prepared / "train.jsonl.gz").read_bytes()
    digits.main(arguments)


def test_the_corpus_is_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    opener(monkeypatch, archive())
    assert digits.download(tmp_path) == tmp_path / "fsdd"
    opener(monkeypatch, AssertionError("the corpus is here already"))
    assert {split: len(cuts) for split, cuts in cuts_from_folder(digits.download(tmp_path)).items()} == {
        "train": 40,
        "dev": 60,
        "test": 100,
    }


def test_nothing_but_recordings_leaves_the_archive(tmp_path: Path):
    root = "free-spoken-digit-dataset-26eb"
    evil = [
        f"{root}/recordings/../../../0_eve_1.wav",
        "/0_eve_2.wav",
        f"{root}/recordings/0_eve_3.wav/x",
        "0_eve_4.wav",
    ]
    fsdd.extract(archive(dict.fromkeys(evil, wav(0, 100))), tmp_path / "inner/fsdd")
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert len(files) == 201 and not any("eve" in file for file in files)
    assert all(file.startswith("inner/fsdd/") for file in files)


def test_a_bad_archive_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(DataError, match="broken"):
        fsdd.extract(archive()[:5000], tmp_path / "cut")
    with pytest.raises(DataError, match="no recordings"):
        fsdd.extract(b"PK\x05\x06" + bytes(18), tmp_path / "empty")
    monkeypatch.setattr(fsdd, "MAX_ARCHIVE_BYTES", 1000)
    opener(monkeypatch, archive())
    with pytest.raises(DataError, match="larger than 1000 bytes; .*--corpus"):
        digits.download(tmp_path / "huge")
    assert not list(tmp_path.rglob("manifest.tsv"))


def test_without_network_the_digits_are_synthetic_and_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("espeakng_loader", reason="the extra espeak is not installed")
    opener(monkeypatch, urllib.error.URLError("no route to host"))
    monkeypatch.setattr(espeak, "TAKES", 9)
    folder = digits.download(tmp_path)
    warning = capsys.readouterr().err
    assert "SYNTHETIC SPEECH" in warning and "no route to host" in warning
    splits = cuts_from_folder(folder)
    takes = {"train": 1, "dev": 3, "test": 5}
    assert {split: len(cuts) for split, cuts in splits.items()} == {
        split: n * 10 * len(espeak.SPEAKERS) for split, n in takes.items()
    }
    for cut in list(splits["train"]):
        wave = load_audio(cut, RATE)
        assert cut.sampling_rate == RATE and 0.1 < cut.duration < 1.5
        assert 0.45 < np.abs(wave).max() < 0.55
    assert len({load_audio(cut, RATE).tobytes() for cut in list(splits["test"])}) == len(splits["test"])


def test_without_network_and_espeak_the_error_tells_both_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    opener(monkeypatch, TimeoutError("timed out"))
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(SpeechError, match=r"timed out.*parlance-speech\[espeak\].*--corpus") as caught:
        digits.main(["--out", str(tmp_path)])
    assert "\n" not in str(caught.value)


@pytest.mark.skipif("SPEECH_CORPORA" not in os.environ, reason="SPEECH_CORPORA is unset")
def test_the_split_rule_is_that_of_the_shared_corpus():
    manifest = Path(os.environ["SPEECH_CORPORA"]) / "en_fsdd/manifest.tsv"
    for _, row in read_table(manifest, ("id", "split", "text")):
        digit, _, take = row["id"].split("_")
        assert row["split"] == fsdd.split_of(int(take))
        assert row["text"] == fsdd.WORDS[int(digit)]


@pytest.mark.skipif("SPEECH_CORPORA" not in os.environ, reason="SPEECH_CORPORA is unset")
def test_real_digits(tmp_path: Path):
    digits.main(["--out", str(tmp_path), "--strings", "100"])
    counts = [len(CutSet.from_file(tmp_path / f"{name}.jsonl.gz")) for name in MANIFESTS]
    assert counts == [2100, 150, 250, 100, 200, 300, 100]
