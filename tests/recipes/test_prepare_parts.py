"""AISHELL-1 and LibriSpeech, prepared by lhotse from their public layouts, become manifests."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet

from recipes.prepare import aishell, librispeech
from speech.data.manifests import load_audio, open_manifest
from speech.errors import DataError, SpeechError

RATE = 16000
TRANSCRIPTS = "aishell/data_aishell/transcript/aishell_transcript_v0.8.txt"


def write_audio(path: Path, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(round(100 * seconds)).uniform(-0.1, 0.1, round(seconds * RATE))
    soundfile.write(path, noise, RATE, subtype="PCM_16")


def make_librispeech(root: Path, parts: dict[str, float]) -> Path:
    """`LibriSpeech/<part>/<speaker>/<chapter>/*.flac`, two speakers of two utterances, the second one twice as long."""
    for number, (part, seconds) in enumerate(parts.items()):
        for speaker in (f"{number}1", f"{number}2"):
            chapter = root / "LibriSpeech" / part / speaker / "7"
            names = [f"{speaker}-7-000{i}" for i in range(2)]
            for i, name in enumerate(names):
                write_audio(chapter / f"{name}.flac", seconds * (i + 1))
            texts = ["HE SAID IT'S LATE", f"MISTER {part.upper()} SPOKE"]
            lines = "".join(f"{name} {text}\n" for name, text in zip(names, texts, strict=True))
            (chapter / f"{speaker}-7.trans.txt").write_text(lines)
    return root / "LibriSpeech"


def make_aishell(root: Path) -> Path:
    """`aishell/data_aishell`: a speaker with two utterances in each split, and one without a transcript in train."""
    lines = []
    for number, split in enumerate(("train", "dev", "test")):
        for i in range(2):
            name = f"BAC009S000{number}W000{i}"
            write_audio(root / f"aishell/data_aishell/wav/{split}/S000{number}/{name}.wav", 0.6 + i)
            lines.append(f"{name} 两 辆 私家车 ＡＢ" if i else f"{name} 第 {number} 句")
    write_audio(root / "aishell/data_aishell/wav/train/S0000/BAC009S0000W0009.wav", 1.0)
    transcripts = root / TRANSCRIPTS
    transcripts.parent.mkdir(parents=True)
    transcripts.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root / "aishell"


def names(path: Path) -> list[str]:
    return [cut.id for cut in open_manifest(path)]


def test_librispeech_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    parts = {"train-clean-100": 1.0, "train-other-500": 1.5, "dev-clean": 0.3, "dev-other": 2.0, "test-clean": 0.3}
    make_librispeech(tmp_path, parts)
    monkeypatch.chdir(tmp_path)
    limits = ["--min-seconds", "0.5", "--max-seconds", "3.5"]
    librispeech.main(["--corpus", "LibriSpeech", "--out", "data", *limits])
    assert names(tmp_path / "data/train.jsonl.gz") == [
        f"{s}-7-000{i}" for s in ("01", "02", "11", "12") for i in (0, 1)
    ]
    # 0.3 and 4 s leave the dev set of the training, no length leaves the sets that are scored
    assert names(tmp_path / "data/dev.jsonl.gz") == ["21-7-0001", "22-7-0001", "31-7-0000", "32-7-0000"]
    for part, number in (("dev-clean", 2), ("dev-other", 3), ("test-clean", 4)):
        ids = [f"{number}{s}-7-000{i}" for s in (1, 2) for i in (0, 1)]
        assert names(tmp_path / f"data/{part}.jsonl.gz") == ids
    cut = open_manifest(tmp_path / "data/train.jsonl.gz")["12-7-0001"]
    (said,) = cut.supervisions
    assert (said.text, said.speaker, said.language) == ("mister train other 500 spoke", "12", "en")
    assert (cut.start, cut.duration, said.start, said.duration) == (0.0, 3.0, 0.0, 3.0)
    monkeypatch.chdir("/")  # the paths of the audio are absolute
    assert len(load_audio(cut, RATE)) == 3 * RATE


def test_only_the_parts_asked_for(tmp_path: Path):
    corpus = make_librispeech(tmp_path, {"train-clean-5": 1.0, "dev-clean-2": 1.0, "train-clean-100": 1.0})
    librispeech.main(["--corpus", str(corpus), "--out", str(tmp_path / "mini"), "--parts", "mini_librispeech"])
    assert len(names(tmp_path / "mini/train.jsonl.gz")) == 4
    assert sorted(path.name for path in (tmp_path / "mini").iterdir()) == [
        f"{name}.jsonl.gz" for name in ("dev-clean-2", "dev", "train")
    ]


def test_without_a_corpus_the_small_parts_are_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    corpus = make_librispeech(tmp_path / "made", {"train-clean-5": 1.0, "dev-clean-2": 1.0})
    (tmp_path / "server/31").mkdir(parents=True)
    for part in ("train-clean-5", "dev-clean-2"):
        with tarfile.open(tmp_path / f"server/31/{part}.tar.gz", "w:gz") as archive:
            archive.add(corpus / part, arcname=f"LibriSpeech/{part}")
    monkeypatch.setattr(librispeech, "BASE_URL", (tmp_path / "server").as_uri())
    librispeech.main(["--out", str(tmp_path / "data"), "--parts", "mini_librispeech"])
    assert len(names(tmp_path / "data/train.jsonl.gz")) == len(names(tmp_path / "data/dev.jsonl.gz")) == 4
    monkeypatch.setattr(librispeech, "BASE_URL", (tmp_path / "nowhere").as_uri())
    with pytest.raises(SpeechError, match="mini_librispeech cannot be downloaded.*--corpus") as caught:
        librispeech.main(["--out", str(tmp_path / "again"), "--parts", "mini_librispeech"])
    assert "\n" not in str(caught.value)


def test_a_faulty_librispeech_is_named(tmp_path: Path):
    corpus = make_librispeech(tmp_path, {"train-clean-100": 1.0, "dev-clean": 1.0, "train-clean-5": 1.0})
    for path in (corpus / "train-clean-100").rglob("*.trans.txt"):
        path.unlink()
    with pytest.raises(DataError, match=r"train-clean-100: no utterance has audio .*\.trans\.txt"):
        librispeech.cuts_from_librispeech(corpus, "librispeech")
    with pytest.raises(DataError, match="no part dev-., of mini_librispeech there is train-clean-5; give"):
        librispeech.cuts_from_librispeech(corpus, "mini_librispeech")
    with pytest.raises(DataError, match="no part train-., of librispeech there is nothing; give"):
        librispeech.main(["--corpus", str(tmp_path / "nowhere"), "--out", str(tmp_path)])


def test_aishell_parts(tmp_path: Path):
    aishell.main(["--corpus", str(make_aishell(tmp_path)), "--out", str(tmp_path / "data")])
    for number, split in enumerate(("train", "dev", "test")):
        first, second = open_manifest(tmp_path / f"data/{split}.jsonl.gz")
        (said,) = first.supervisions
        assert (first.id, said.text) == (f"BAC009S000{number}W0000", f"第{number}句")
        assert (said.speaker, said.language) == (f"S000{number}", "zh")
        assert second.supervisions[0].text == "两辆私家车ab" and second.duration == 1.6


def test_a_faulty_aishell_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    corpus = make_aishell(tmp_path)
    for path in (corpus / "data_aishell/wav/dev").rglob("*.wav"):
        path.rename(path.with_stem("unsaid"))
    with pytest.raises(DataError, match=r"wav: a split has no \*.wav with a transcript; unpack"):
        aishell.main(["--corpus", str(corpus), "--out", str(tmp_path / "data")])
    (tmp_path / TRANSCRIPTS).unlink()
    with pytest.raises(DataError, match="aishell_transcript_v0.8.txt is missing"):
        aishell.main(["--corpus", str(corpus), "--out", str(tmp_path / "data")])
    monkeypatch.delenv("SPEECH_CORPORA", raising=False)
    with pytest.raises(SpeechError, match="openslr.org/33.*lhotse download aishell.*--corpus"):
        aishell.main(["--out", str(tmp_path / "data")])


def test_aishell_of_a_folder(tmp_path: Path):
    write_audio(tmp_path / "a.wav", 1.0)
    table = "id\tspeaker\tsplit\taudio\ttext\na\tann\ttrain\ta.wav\t设定 二十九度。\n"
    (tmp_path / "manifest.tsv").write_text(table, encoding="utf-8")
    aishell.main(["--corpus", str(tmp_path), "--out", str(tmp_path / "data")])
    (cut,) = CutSet.from_file(tmp_path / "data/train.jsonl.gz")
    assert (cut.supervisions[0].text, cut.supervisions[0].language) == ("设定二十九度", "zh")
