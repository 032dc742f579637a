import gzip
import json

import numpy as np
import pytest
import soundfile as sf
from lhotse import MonoCut, Recording, SupervisionSegment
from lhotse.audio import AudioSource
from lhotse.cut import CutSet

from speech.data.manifests import load_audio, open_manifest, save_manifest
from speech.data.validate import validate
from speech.errors import DataError
from speech.text.tokenizer import Tokenizer

RATE = 16000


def make_cut(folder, name="a", seconds=1.0, text="one", relative=True):
    x = np.linspace(-0.5, 0.5, round(seconds * RATE), dtype=np.float32)
    sf.write(folder / f"{name}.wav", x, RATE, subtype="FLOAT")
    path = f"{name}.wav" if relative else str(folder / f"{name}.wav")
    recording = Recording(name, [AudioSource("file", [0], path)], RATE, len(x), seconds)
    supervision = SupervisionSegment(name, name, 0.0, seconds, text=text)
    return MonoCut(name, 0.0, seconds, 0, recording=recording, supervisions=[supervision])


def write(path, items):
    data = b"".join((i if isinstance(i, bytes) else json.dumps(i).encode()) + b"\n" for i in items)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
@pytest.mark.parametrize("place", ["source", "mixed", "custom", "supervision", "pipe", "url"])
def test_nothing_is_run(tmp_path, suffix, place):
    canary = tmp_path / "canary"
    good = make_cut(tmp_path).to_dict()
    evil = json.loads(json.dumps(good))
    evil["id"] = "evil"
    source = evil["recording"]["sources"][0]
    source |= {"type": "command", "source": f"touch {canary}; cat {tmp_path}/a.wav"}
    if place == "pipe":
        source |= {"type": "file", "source": f"pipe:touch {canary}"}
    if place == "url":
        source |= {"type": "url", "source": "http://127.0.0.1:9/a.wav"}
    if place == "mixed":
        evil = {"id": "evil", "type": "MixedCut", "tracks": [{"cut": evil, "type": "MonoCut", "offset": 0.0}]}
    if place == "custom":
        evil = good | {"id": "evil", "custom": {"target": evil["recording"]}}
    if place == "supervision":
        evil = good | {"id": "evil"}
        evil["supervisions"] = [good["supervisions"][0] | {"custom": {"deep": [{"target": source}]}}]
    path = write(tmp_path / f"m.{suffix}", [good, evil])
    with pytest.raises(DataError, match="line 2: audio source .* is refused"):
        for cut in open_manifest(path):
            load_audio(cut, RATE)
    assert [fault.line for fault in validate(path).faults] == [2]
    assert not canary.exists()


def test_pipe_and_url_as_path(tmp_path):
    for path in (f"pipe:touch {tmp_path}/canary .jsonl", "https://127.0.0.1:9/x.jsonl"):
        with pytest.raises(DataError, match="not a local file"):
            open_manifest(path)
    assert not (tmp_path / "canary").exists()


def test_stored_features_are_refused(tmp_path):
    item = make_cut(tmp_path).to_dict() | {"features": {"storage_type": "numpy_files", "storage_path": "x"}}
    with pytest.raises(DataError, match="line 1: stored features .numpy_files. are refused"):
        open_manifest(write(tmp_path / "m.jsonl", [item]))


def test_faulty_files(tmp_path):
    good = make_cut(tmp_path).to_dict()
    for items, message in [
        ([], "no cuts"),
        ([good, b"{"], "line 2: not JSON"),
        ([good, good], "line 2: the id 'a' stands on line 1"),
        ([b"[" * 100000], "line 1"),
        *(([good | {"duration": d}], "line 1: not a lhotse cut") for d in ("x", 0.0, -1.0, float("nan"))),
    ]:
        with pytest.raises(DataError, match=message):
            open_manifest(write(tmp_path / "m.jsonl", items))
    with pytest.raises(DataError, match="cannot be read"):
        open_manifest(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="does not end in"):
        open_manifest(tmp_path / "m.yaml")
    (tmp_path / "x.jsonl.gz").write_bytes(b"junk")
    with pytest.raises(DataError, match="gzip"):
        open_manifest(tmp_path / "x.jsonl.gz")


@pytest.mark.parametrize("name", ["m.jsonl", "m.jsonl.gz"])
def test_round_trip_from_any_folder(tmp_path, monkeypatch, name):
    monkeypatch.chdir("/")
    cut = make_cut(tmp_path)
    memory = AudioSource("memory", [0], (tmp_path / "a.wav").read_bytes())
    other = MonoCut("m", 0.25, 0.5, 0, recording=Recording("m", [memory], RATE, RATE, 1.0))
    save_manifest([cut, other], tmp_path / name)
    first, second = open_manifest(tmp_path / name)
    x = sf.read(tmp_path / "a.wav", dtype="float32")[0]
    np.testing.assert_allclose(load_audio(first, RATE), x, atol=1e-6)
    np.testing.assert_allclose(load_audio(second, RATE), x[4000:12000], atol=1e-6)
    assert not list(tmp_path.glob(".*"))


def test_mixture_is_the_sum_of_its_tracks(tmp_path):
    cut = make_cut(tmp_path, relative=False)
    x = load_audio(cut, RATE)
    mixed = load_audio(cut.pad(2.0).mix(cut, offset_other_by=0.5), RATE)
    expected = np.zeros(2 * RATE, dtype=np.float32)
    expected[:RATE] += x
    expected[8000:24000] += x
    np.testing.assert_allclose(mixed, expected, atol=1e-6)
    with pytest.raises(DataError, match="SNR"):
        load_audio(cut.mix(cut, snr=5), RATE)


def test_missing_audio_is_an_error_past_a_tenth_of_a_second(tmp_path):
    cut = make_cut(tmp_path, relative=False)
    sf.write(tmp_path / "a.wav", np.zeros(15000, dtype=np.float32), RATE)
    assert load_audio(cut, RATE).shape == (RATE,)
    sf.write(tmp_path / "a.wav", np.zeros(14000, dtype=np.float32), RATE)
    with pytest.raises(DataError, match=r"cut a: the audio has 0\.875 s where the manifest says 1\.000 s"):
        load_audio(cut, RATE)


def test_validator_lists_every_fault(tmp_path):
    tokenizer = Tokenizer.train(["one two"], tmp_path / "t.model", 64, byte_fallback=False)
    good = make_cut(tmp_path).to_dict()
    no_id = {key: value for key, value in good.items() if key != "id"}
    gone = make_cut(tmp_path, "gone").to_dict()
    (tmp_path / "gone.wav").unlink()
    junk = make_cut(tmp_path, "junk").to_dict()
    (tmp_path / "junk.wav").write_bytes(b"no audio" * 99)
    longer = make_cut(tmp_path, "longer").to_dict()
    sf.write(tmp_path / "longer.wav", np.zeros(2 * RATE), RATE)
    silent = make_cut(tmp_path, "silent", text=" ").to_dict()
    bare = make_cut(tmp_path, "bare").to_dict() | {"supervisions": []}
    foreign = make_cut(tmp_path, "foreign", text="six").to_dict()
    short = make_cut(tmp_path, "short", seconds=0.2).to_dict()
    items = [good, b"{", no_id, good, gone, junk, longer, silent, bare, foreign, short]
    report = validate(write(tmp_path / "m.jsonl", items), tokenizer, min_seconds=0.5, max_seconds=5.0)
    assert [fault.line for fault in report.faults] == list(range(2, 12))
    words = ["JSON", "no id", "line 1 too", "gone", "", "2.000", "empty", "no supervision", "outside", "min_seconds"]
    assert all(word in fault.what for word, fault in zip(words, report.faults, strict=True))
    assert report.cuts == 9
    assert report.hours == pytest.approx(8.2 / 3600)


def test_clean_manifest_has_no_fault(tmp_path):
    save_manifest(CutSet.from_cuts([make_cut(tmp_path)]), tmp_path / "m.jsonl")
    assert validate(tmp_path / "m.jsonl").faults == []
