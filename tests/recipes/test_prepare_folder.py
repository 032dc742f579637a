"""Corpus folders and Common Voice releases become manifests; faults of a table name its line."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet

from recipes.prepare import commonvoice, folder
from speech.data.tsv import cuts_from_folder
from speech.errors import AudioError, DataError, SpeechError

HEADER = "id\tspeaker\tsplit\tduration\taudio\ttext\taccent"


def write_audio(path: Path, seconds: float, channels: int = 1, rate: int = 8000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, (round(seconds * rate), channels))
    soundfile.write(path, noise, rate)


def write_corpus(root: Path, rows: list[str], header: str = HEADER) -> Path:
    (root / "manifest.tsv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return root


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    root = tmp_path / "corpus"
    for name, seconds in {"a": 1.0, "b": 2.0, "short": 0.2, "long": 4.0}.items():
        write_audio(root / f"audio/{name}.wav", seconds)
    return root


def test_cuts_tell_what_the_table_and_the_files_say(corpus: Path):
    write_audio(corpus / "audio/stereo.wav", 1.5, channels=2)
    rows = [
        "a\tann\ttrain\t99\taudio/a.wav\tHello there\tscottish",
        's\tbob\tdev\t1.5\taudio/stereo.wav\t"quoted \u2028 text\t',
    ]
    splits = cuts_from_folder(write_corpus(corpus, rows), language="fr")
    assert list(splits) == ["train", "dev"]
    (cut,) = list(splits["train"])
    said = cut.supervisions[0]
    assert (cut.id, cut.num_samples, cut.duration) == ("a", 8000, 1.0)  # the file's length, not the column's
    assert (said.text, said.speaker, said.language, said.custom) == ("Hello there", "ann", "fr", {"accent": "scottish"})
    assert Path(cut.recording.sources[0].source).is_absolute()
    (stereo,) = list(splits["dev"])
    assert stereo.recording.channel_ids == [0, 1] and stereo.num_samples == 12000
    assert stereo.supervisions[0].text == '"quoted \u2028 text'


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("b\tann\ttrain\t1\taudio/b.wav", "line 3: 5 fields, but the header names 7"),
        ("b\tann\ttrain\t1\taudio/none.wav\thi\t", "line 3: no audio file .*none.wav"),
        (f"b\tann\ttrain\t1\taudio/{'x' * 300}.wav\thi\t", "line 3: no audio file"),
        ("b\tann\ttrain\t1\taudio/../../b.wav\thi\t", "line 3: audio .* leads out of the folder"),
        ("b\tann\ttrain\t1\t/etc/passwd\thi\t", "line 3: audio '/etc/passwd' leads out of the folder"),
        ("b\tann\tvalid\t1\taudio/b.wav\thi\t", "line 3: split 'valid' is not one of train, dev, test"),
        ("a\tann\ttrain\t1\taudio/b.wav\thi\t", "line 3: the id 'a' stands on an earlier line"),
    ],
)
def test_a_faulty_row_is_named(corpus: Path, row: str, fault: str):
    write_corpus(corpus, ["a\tann\ttrain\t1\taudio/a.wav\thi\t", row])
    with pytest.raises(DataError, match=fault) as caught:
        cuts_from_folder(corpus)
    assert "\n" not in str(caught.value)


def test_a_faulty_table_is_named(corpus: Path, tmp_path: Path):
    with pytest.raises(DataError, match="manifest.tsv: cannot be read"):
        cuts_from_folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match="line 1: no column speaker, text among id, split, audio"):
        cuts_from_folder(write_corpus(corpus, [], "id\tsplit\taudio"))
    with pytest.raises(DataError, match="no rows"):
        cuts_from_folder(write_corpus(corpus, []))
    (corpus / "manifest.tsv").write_bytes(HEADER.encode() + b"\n\xff\n")
    with pytest.raises(DataError, match="byte .* is not UTF-8"):
        cuts_from_folder(corpus)


def test_an_unusable_file_is_an_audio_error(corpus: Path):
    (corpus / "audio/broken.wav").write_bytes(b"not audio at all")
    write_corpus(corpus, ["x\tann\ttrain\t1\taudio/broken.wav\thi\t"])
    with pytest.raises(AudioError, match="broken.wav"):
        cuts_from_folder(corpus)


def test_folder_normalises_filters_and_reports(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rows = [
        "a\tann\ttrain\t1\taudio/a.wav\tHello, THERE!\t",
        "empty\tann\ttrain\t2\taudio/b.wav\t...\t",
        "short\tann\ttrain\t1\taudio/short.wav\thi\t",
        "long\tann\ttrain\t1\taudio/long.wav\thi\t",
        "tested\tann\ttest\t1\taudio/long.wav\thi\t",
    ]
    limits = ["--normalize", "en", "--min-seconds", "0.5", "--max-seconds", "3"]
    outs = [tmp_path / "one", tmp_path / "two"]
    for out in outs:
        folder.main(["--corpus", str(write_corpus(corpus, rows)), "--out", str(out), *limits])
    report = capsys.readouterr().out
    (kept,) = CutSet.from_file(outs[0] / "train.jsonl.gz")
    assert (kept.id, kept.supervisions[0].text) == ("a", "hello there")
    assert [cut.id for cut in CutSet.from_file(outs[0] / "test.jsonl.gz")] == ["tested"]  # limits spare the test set
    assert not (outs[0] / "dev.jsonl.gz").exists()
    for reason, hours in {
        "empty text": 2 / 3600,
        "shorter than 0.5 s": 0.2 / 3600,
        "longer than 3 s": 4 / 3600,
    }.items():
        assert any(
            line.split()[-2:] == ["1", f"{hours:.3f}"] for line in report.splitlines() if f"train: {reason}" in line
        )
    assert (outs[0] / "train.jsonl.gz").read_bytes() == (outs[1] / "train.jsonl.gz").read_bytes()


def test_nothing_left_is_an_error(corpus: Path, tmp_path: Path):
    write_corpus(corpus, ["a\tann\ttrain\t1\taudio/a.wav\thi\t"])
    with pytest.raises(DataError, match="train: nothing is left of 1 cuts.*--max-seconds"):
        folder.main(["--corpus", str(corpus), "--out", str(tmp_path / "out"), "--max-seconds", "0.5"])
    with pytest.raises(SpeechError, match="manifest.tsv/out: cannot be made .*--out"):
        folder.main(["--corpus", str(corpus), "--out", str(corpus / "manifest.tsv/out")])
    with pytest.raises(SpeechError, match="min_seconds 3.0 .* max_seconds 2.0"):
        folder.main(["--corpus", str(corpus), "--out", str(tmp_path), "--min-seconds", "3", "--max-seconds", "2"])


def test_a_common_voice_release(tmp_path: Path):
    release = tmp_path / "cv-corpus/en"
    for split, seconds in {"train": 1.0, "dev": 1.5, "test": 2.0}.items():
        write_audio(release / f"clips/{split}.mp3", seconds, rate=32000)
        table = f"client_id\tpath\tsentence\tup_votes\nc1\t{split}.mp3\tHe said: “It’s late.”\t2\n"
        (release / f"{split}.tsv").write_text(table, encoding="utf-8")
    commonvoice.main(["--corpus", str(release), "--out", str(tmp_path / "out")])
    for split in ("train", "dev", "test"):
        (cut,) = CutSet.from_file(tmp_path / f"out/{split}.jsonl.gz")
        said = cut.supervisions[0]
        assert (cut.id, said.speaker, said.text) == (split, "c1", "he said it's late")
        assert cut.duration == pytest.approx({"train": 1.0, "dev": 1.5, "test": 2.0}[split], abs=0.1)


def test_common_voice_without_a_corpus_tells_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SPEECH_CORPORA", raising=False)
    with pytest.raises(SpeechError, match="commonvoice.mozilla.org.*--corpus"):
        commonvoice.main(["--out", str(tmp_path)])


@pytest.mark.skipif("SPEECH_CORPORA" not in os.environ, reason="SPEECH_CORPORA is unset")
def test_real_common_voice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = Path(os.environ["SPEECH_CORPORA"]) / "en_commonvoice1_test"
    part = tmp_path / "en_commonvoice1_test"
    part.mkdir()
    (part / "audio").symlink_to(whole / "audio")
    lines = (whole / "manifest.tsv").read_text(encoding="utf-8").split("\n")[:201]
    write_corpus(part, lines[1:], lines[0])
    monkeypatch.setenv("SPEECH_CORPORA", str(tmp_path))
    commonvoice.main(["--out", str(tmp_path / "out")])
    cuts = [cut for split in ("train", "dev", "test") for cut in CutSet.from_file(tmp_path / f"out/{split}.jsonl.gz")]
    stated = {line.split("\t")[0]: float(line.split("\t")[3]) for line in lines[1:]}
    assert len(cuts) == 200
    for cut in cuts:
        assert cut.duration == pytest.approx(stated[cut.id], abs=0.001)
