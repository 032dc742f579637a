import numpy as np
import pytest
import soundfile as sf

from recipes.prepare import ljspeech, voice
from speech.data.manifests import open_manifest
from speech.errors import DataError
from speech.voice_parts import load_parts

RATE = 8000


def write_sound(path, before: float = 0.3, seconds: float = 0.4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)
    sf.write(path, np.pad(tone, (round(before * RATE), round(0.2 * RATE))), RATE)


def make_folder(folder, rows: list[tuple[str, ...]], columns: str = "id speaker split audio text") -> None:
    for row in rows:
        write_sound(folder / f"{row[0]}.wav")
    lines = ["\t".join(columns.split()), *("\t".join((*row[:3], f"{row[0]}.wav", *row[3:])) for row in rows)]
    (folder / "manifest.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def prepared(corpus, out, *options: str, capsys) -> tuple[dict[str, list], str]:
    voice.main(["--corpus", str(corpus), "--out", str(out), *options])
    return {
        split: list(open_manifest(out / f"{split}.jsonl.gz")) for split in ("train", "dev")
    }, capsys.readouterr().out


def test_speakers_and_languages_are_those_of_the_training_set(tmp_path, capsys):
    rows = [
        ("a", "zoe", "train", "drei neun", "de"),
        ("b", "ann", "train", "three nine", "en"),
        ("c", "ann", "dev", "nine", "en"),
        ("d", "zoe", "dev", "neun", ""),
        ("e", "bob", "dev", "nine", "en"),
        ("f", "ann", "dev", "nove", "it"),
    ]
    make_folder(tmp_path, rows, "id speaker split audio text language")
    splits, told = prepared(tmp_path, tmp_path / "out", "--language", "de", capsys=capsys)
    parts = load_parts(tmp_path / "out/voice")
    assert (parts.speakers, parts.languages) == (["ann", "zoe"], ["de", "en"])
    assert [cut.id for cut in splits["dev"]] == ["c", "d"]
    assert "dropped dev: speaker bob is not in train" in told and "dropped dev: language it is not in train" in told
    found = {cut.id: cut.supervisions[0] for split in splits.values() for cut in split}
    assert {name: (s.language, s.speaker, s.custom["said"]) for name, s in found.items()} == {
        "a": ("de", "zoe", "drei neun"), "b": ("en", "ann", "three nine"), "c": ("en", "ann", "nine"),
        "d": ("de", "zoe", "neun"),
    }  # fmt: skip
    assert found["c"].text == "N AY1 N" and found["d"].text == "n e u n"  # each by its own language
    for supervision in found.values():
        assert parts.tokenizer.decode(parts.tokenizer.encode(supervision.text)) == supervision.text


def test_what_cannot_be_used_is_counted_and_edges_are_trimmed(tmp_path, capsys):
    said = {"a": "one", "b": " ", "c": "!", "d": "one"}
    make_folder(tmp_path, [(name, "x", "dev" if name == "d" else "train", text) for name, text in said.items()])
    splits, told = prepared(tmp_path, tmp_path / "out", capsys=capsys)
    (train,), (dev,) = splits["train"], splits["dev"]
    assert (train.id, dev.id) == ("a", "d") and load_parts(tmp_path / "out/voice").speakers == []
    assert train.start == pytest.approx(0.25) and train.duration == pytest.approx(0.5)  # 0.05 s stay at both ends
    assert "dropped train: no text  " in told and "dropped train: no letter and no digit in the text '!'" in told
    make_folder(tmp_path, [("a", "x", "train", "one"), ("b", "x", "dev", "two")])
    with pytest.raises(DataError, match="(?s)^dev: nothing is left of it; .*dropped dev: phoneme T is not in train"):
        prepared(tmp_path, tmp_path / "out", capsys=capsys)


def test_ljspeech_as_published_is_split_by_count_and_read_in_words(tmp_path):
    names = [f"LJ001-{i:04d}" for i in range(1, 132)]
    for name in names:
        write_sound(tmp_path / f"wavs/{name}.wav")
    (tmp_path / "metadata.csv").write_text("".join(f"{name}|1, {name[-1]}|one\n" for name in reversed(names)))
    ljspeech.main(["--corpus", str(tmp_path), "--out", str(tmp_path / "out")])
    splits = {split: list(open_manifest(tmp_path / f"out/{split}.jsonl.gz")) for split in ("train", "dev", "test")}
    assert [[cut.id for cut in cuts] for cuts in splits.values()] == [names[:125], names[125:128], names[128:]]
    assert {cut.supervisions[0].text for cuts in splits.values() for cut in cuts} == {"W AH1 N"}
    (tmp_path / "metadata.csv").write_text(f"{names[0]}|one\n")
    with pytest.raises(DataError, match="^.*metadata.csv: a line is not id|text|text in words; fetch it again$"):
        ljspeech.main(["--corpus", str(tmp_path), "--out", str(tmp_path / "out")])
