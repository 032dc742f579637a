import gzip
import io
import json
import os
import shutil
import struct
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
from lhotse.audio import AudioSource
from lhotse.cut import MixedCut
from lhotse.cut.mixed import MixTrack
from test_asr import same

from speech.cli import main
from speech.data.asr import ASRStream
from speech.data.config import DataConfig
from speech.data.corpus import read_corpus, read_tables, save_tables
from speech.data.manifests import load_audio, open_manifest, save_manifest
from speech.data.shar import SharTable, make_shar_table
from speech.data.shar_writer import write_shar
from speech.data.sources import fingerprint, read_sources
from speech.errors import DataError, SpeechError
from speech.training.config import AEDRecipe
from speech.training.run import describe

RATE = 8000
CONFIG = DataConfig(batch_seconds=1.5, quadratic_seconds=0.0, pool_cuts=5)
TEXTS = ("one", "two two", "three one two", "one two three one")
LONG = "été/" + "n" * 150 + ".take.1"  # a folder, letters beyond ASCII and more than the 100 bytes of an old tar
NAMES = [*(f"c{i}" for i in range(11)), LONG]
FORMATS = {"WAV": "PCM_16", "FLAC": "PCM_16", "OGG": "VORBIS", "MP3": "MPEG_LAYER_III", "AIFF": "FLOAT"}


def nothing(cut):
    return []


def sound(i, seconds):
    rng = np.random.default_rng(i)
    tone = np.sin(2 * np.pi * (300 + 50 * i) * np.arange(round(seconds * RATE)) / RATE)
    return 0.3 * tone + 0.01 * rng.standard_normal(len(tone))


def whole(folder, name, i, file_format="WAV", subtype=None):
    seconds, path = 0.2 + 0.05 * i, folder / f"{i}.{file_format.lower()}"
    sf.write(path, sound(i, seconds), RATE, subtype or FORMATS[file_format], format=file_format)
    recording = Recording(f"rec{i}", [AudioSource("file", [0], str(path))], RATE, round(seconds * RATE), seconds)
    said = [SupervisionSegment(f"s{i}", f"rec{i}", 0.0, seconds, text=TEXTS[i % 4])]
    return MonoCut(name, 0.0, seconds, 0, supervisions=said, recording=recording, custom={"take": i})


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """12 whole files as (manifest, Shar folder of 3 shards)."""
    folder = tmp_path_factory.mktemp("stored")
    cuts = [whole(folder, name, i, [*FORMATS][i % len(FORMATS)]) for i, name in enumerate(NAMES)]
    save_manifest(cuts, folder / "cuts.jsonl.gz")
    written = write_shar(folder / "cuts.jsonl.gz", folder / "shar", 5)
    assert (written.cuts, written.shards, written.encoded) == (12, 3, 0)
    return folder / "cuts.jsonl.gz", folder / "shar"


@pytest.fixture
def copied(stored, tmp_path):
    return shutil.copytree(stored[1], tmp_path / "shar")


def stream(path, tokenizer, config=CONFIG, total=None):
    return ASRStream(read_corpus(path, tokenizer, config, 64), config, RATE, 1, total)


def rows(batches):
    """Audio and tokens of each cut."""
    out = {}
    for batch in batches:
        assert not batch.lost
        for i, name in enumerate(batch.ids):
            x, y = batch.waveforms[i, : batch.waveform_lengths[i]], batch.tokens[i, : batch.token_lengths[i]]
            out[name] = (x.numpy(), y.tolist())
    return out


def test_what_goes_in_comes_out_to_the_bit(stored, tokenizer):
    manifest, shar = stored
    before, after = (rows(stream(path, tokenizer)) for path in stored)
    assert before.keys() == after.keys() and len(after) == 12
    for name, (x, tokens) in after.items():
        assert np.array_equal(x, before[name][0]) and tokens == before[name][1]
    corpus = read_corpus(shar, tokenizer, CONFIG, 64)
    for row, cut in enumerate(open_manifest(manifest)):
        found, source = corpus.cut(row), cut.recording.sources[0].source
        with open(source, "rb") as file:
            assert found.recording.sources[0].source == file.read()
        assert (found.id, found.supervisions, found.custom) == (cut.id, cut.supervisions, cut.custom)


def test_the_layout_is_that_of_lhotse(stored, tmp_path):
    manifest, shar = stored
    CutSet(open_manifest(manifest)).to_shar(tmp_path, fields={"recording": "original"}, shard_size=5)
    assert sorted(p.name for p in shar.iterdir()) == sorted(p.name for p in tmp_path.iterdir())
    for name in ("recording.000000.tar", "recording.000002.tar"):
        listed = [tarfile.open(folder / name).getnames() for folder in (shar, tmp_path)]
        assert [n for n in listed[0] if n.endswith(".json")] == [n for n in listed[1] if n.endswith(".json")]
    for name in ("cuts.000000.jsonl.gz", "cuts.000002.jsonl.gz"):
        ours, theirs = (gzip.decompress((f / name).read_bytes()).splitlines() for f in (shar, tmp_path))
        assert [json.loads(line) for line in ours] == [json.loads(line) for line in theirs]


def test_ours_reads_what_lhotse_wrote(stored, tokenizer, tmp_path):
    cuts = CutSet.from_cuts(
        [cut.truncate(offset=0.05, duration=0.1 + 0.01 * i) for i, cut in enumerate(open_manifest(stored[0]))]
    ).modify_ids(lambda name: f"{name}-part")
    cuts.to_shar(tmp_path, fields={"recording": "flac"}, shard_size=5)
    found = rows(stream(tmp_path, tokenizer))
    assert len(found) == 12
    for theirs in CutSet.from_shar(in_dir=tmp_path):
        x, tokens = found[theirs.id]
        assert np.array_equal(x, theirs.load_audio()[0])
        assert tokens[5:-1] == tokenizer.encode(theirs.supervisions[0].text)


def test_parts_mixtures_and_loud_ones_are_encoded(tmp_path):
    a, fine, b = whole(tmp_path, "a", 3), whole(tmp_path, "fine", 4, subtype="FLOAT"), whole(tmp_path, "b", 5)
    bits = replace(a.recording, sources=[AudioSource("memory", [0], (tmp_path / "3.wav").read_bytes())])
    sf.write(tmp_path / "both.flac", np.stack([sound(6, 0.3), sound(7, 0.3)], 1), RATE)
    source = AudioSource("file", [0, 1], str(tmp_path / "both.flac"))
    both = replace(a, channel=1, duration=0.3, recording=Recording("r", [source], RATE, 2400, 0.3, [0, 1]))
    twice = [MixTrack(a), MixTrack(b, offset=0.1)]
    expected = {  # id -> cut, format, subtype, largest error
        "whole": (a, "WAV", "PCM_16", 0.0),
        "memory": (replace(a, recording=bits), "WAV", "PCM_16", 0.0),
        "both": (both, "FLAC", "PCM_16", 0.0),
        "part": (replace(a, start=0.05, duration=0.2), "FLAC", "PCM_16", 0.0),
        "late": (replace(a, start=0.05), "FLAC", "PCM_16", 0.0),  # its last 0.05 s are padding
        "head": (replace(a, duration=0.2), "FLAC", "PCM_16", 0.0),
        "fine part": (replace(fine, start=0.1, duration=0.2), "FLAC", "PCM_24", 2**-24),
        "part of both": (replace(both, start=0.1, duration=0.2), "FLAC", "PCM_24", 2**-24),
        "mixed": (MixedCut("", twice), "FLAC", "PCM_16", 0.0),
        "loud": (MixedCut("", twice * 5), "WAV", "FLOAT", 0.0),
    }
    cuts = [cut.with_id(name) for name, (cut, *_) in expected.items()]
    save_manifest(cuts, tmp_path / "m.jsonl")
    assert write_shar(tmp_path / "m.jsonl", tmp_path / "shar").encoded == 7
    table = make_shar_table(str(tmp_path / "shar"), nothing)
    theirs = list(CutSet.from_shar(in_dir=tmp_path / "shar"))
    for row, (cut, (_, file_format, subtype, error)) in enumerate(zip(cuts, expected.values(), strict=True)):
        found = table.cut(row)
        info = sf.info(io.BytesIO(found.recording.sources[0].source))
        assert (info.format, info.subtype) == (file_format, subtype), cut.id
        assert np.abs(load_audio(found, RATE) - load_audio(cut, RATE)).max() <= error, cut.id
        assert np.array_equal(theirs[row].load_audio()[0], load_audio(found, RATE)) or cut.id == "both"
        said = [[(s.id, s.text, s.start, s.duration) for s in c.supervisions] for c in (found, cut)]
        assert said[0] and said[0] == said[1] and (found.id, found.duration) == (cut.id, cut.duration)
        assert isinstance(found, MonoCut) and found.recording.num_samples == info.frames
    assert np.array_equal(theirs[2].load_audio()[0], cuts[2].load_audio()[0]), "its channel, as before"


def test_workers_change_nothing(stored, tokenizer):
    alone = list(stream(stored[1], tokenizer, total=12))
    helped = list(stream(stored[1], tokenizer, replace(CONFIG, workers=2), total=12))
    assert len(alone) == 12 and all(same(a, b) for a, b in zip(alone, helped, strict=True))


def test_an_epoch_reads_shard_after_shard_also_beside_a_manifest(stored, tokenizer, tmp_path):
    save_manifest([whole(tmp_path, f"other{i}", i) for i in range(4)], tmp_path / "other.jsonl")
    (tmp_path / "two.yaml").write_text(f"sources: [{{manifest: other.jsonl}}, {{shar: {stored[1]}}}]")
    corpus = read_corpus(tmp_path / "two.yaml", tokenizer, CONFIG, 64)
    orders = []
    for epoch in range(4):
        taken, _ = corpus.order(1).epoch(epoch)
        shards = corpus.tables[1].groups[taken[taken >= 4] - 4]
        assert sorted(shards) == [0] * 5 + [1] * 5 + [2] * 2 and 1 + np.count_nonzero(np.diff(shards)) == 3
        orders.append((taken.tolist(), shards.tolist()))
    assert len({str(taken) for taken, _ in orders}) == 4 and len({str(shards) for _, shards in orders}) > 1
    alone = read_corpus(stored[1], tokenizer, CONFIG, 64)
    short = [alone.order(1, max_seconds=0.5).epoch(epoch)[0] for epoch in range(4)]
    for taken in short:  # 0.2 ... 0.5 s are the rows 0 ... 6
        assert sorted(taken) == list(range(7)) and np.count_nonzero(np.diff(taken >= 5)) == 1
    assert {bool(taken[0] >= 5) for taken in short} == {True, False}
    assert sorted(rows(ASRStream(corpus, CONFIG, RATE, 1, None))) == sorted(NAMES + [f"other{i}" for i in range(4)])


def cut_short(path, size):
    path.write_bytes(path.read_bytes()[:size])


def test_a_tar_cut_short_anywhere_is_named(copied):
    tar = copied / "recording.000001.tar"
    data = tar.read_bytes()
    with tarfile.open(tar) as file:
        last = file.getmembers()[-1]
    for size in [*range(0, last.offset_data + last.size, 411), last.offset_data + last.size - 1]:
        tar.write_bytes(data[:size])
        with pytest.raises(DataError, match="recording.000001.tar") as error:
            make_shar_table(copied, nothing)
        assert "\n" not in str(error.value)
    tar.write_bytes(data[: last.offset_data + last.size + -last.size % 512])
    assert len(make_shar_table(copied, nothing)) == 12, "all is there but the empty blocks at the end"


@pytest.mark.parametrize(
    "breaking, told",
    [
        (lambda f: (f / "recording.000001.tar").unlink(), "recording.000001.tar: is missing or not a file"),
        (lambda f: (f / "cuts.000002.jsonl.gz").unlink(), "cuts.000002.jsonl.gz: is missing or not a file"),
        (lambda f: [p.unlink() for p in f.glob("*1.*")], "the shard 000001 is missing"),
        (lambda f: [p.unlink() for p in f.glob("cuts.*")], "not a Shar folder, there is no cuts"),
        (lambda f: cut_short(f / "cuts.000001.jsonl.gz", 200), "cuts.000001.jsonl.gz: broken gzip file"),
        (lambda f: (f / "cuts.000001.jsonl.gz").write_bytes(b"{}"), "cuts.000001.jsonl.gz: broken gzip file"),
        (lambda f: os.mkfifo(f / "recording.000003.tar"), "cuts.000003.jsonl.gz: is missing"),
        (lambda f: fifo(f / "recording.000001.tar"), "recording.000001.tar: is missing or not a file"),
        (lambda f: (f / "recording.000001.tar").write_bytes(b"RIFF" * 300), "recording.000001.tar: not a whole tar"),
        (lambda f: shutil.copy(f / "recording.000002.tar", f / "recording.000001.tar"), "stands in its place"),
        (lambda f: shutil.copy(f / "cuts.000000.jsonl.gz", f / "cuts.000001.jsonl.gz"), "stands in its place"),
    ],
)
def test_a_broken_folder_is_told_in_one_line(copied, breaking, told):
    breaking(copied)
    with pytest.raises(DataError, match=told) as error:
        make_shar_table(copied, nothing)
    assert "\n" not in str(error.value) and str(copied) in str(error.value)


def fifo(path):
    path.unlink()
    os.mkfifo(path)


def test_an_id_in_two_shards_is_named(copied, tokenizer):
    for path in copied.glob("*00.*"):
        shutil.copy(path, str(path).replace("00.", "03."))
    with pytest.raises(DataError, match="shar: the id 'c[0-4]' stands in two manifests or shards of it"):
        read_corpus(copied, tokenizer, CONFIG, 64)


def member(name, data=b"", **changes):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in changes.items():
        setattr(info, key, value)
    return info, data


def hostile(copied, members, tar_format=tarfile.PAX_FORMAT):
    """The folder with one more shard of one cut, 'x', and a tar of these members."""
    line = json.loads(gzip.decompress((copied / "cuts.000000.jsonl.gz").read_bytes()).splitlines()[0]) | {"id": "x"}
    (copied / "cuts.000003.jsonl.gz").write_bytes(gzip.compress(json.dumps(line).encode()))
    with open(copied / "recording.000003.tar", "wb") as file:
        for info, data in members:
            file.write(info.tobuf(tar_format) + data + b"\0" * (-len(data) % 512))
        file.write(b"\0" * 1024)


WAV = io.BytesIO()
sf.write(WAV, sound(0, 0.2), RATE, "PCM_16", format="WAV")
GOOD, JSON = member("x.wav", WAV.getvalue()), member("x.json", b"{}")


def sparse():
    info, _ = member("x.wav", b"", size=512)
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"
    header[386:398], header[398:410], header[483:495] = b"%011o\0" % 0, b"%011o\0" % 512, b"%011o\0" % 10**9
    return checked_sum(header) + b"\0" * 512


def checked_sum(header):
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def sized(size):
    """A member whose header says a size in base 256, which may be negative."""
    header = bytearray(member("x.wav")[0].tobuf(tarfile.GNU_FORMAT))
    header[124:136] = struct.pack(">iq", -1 if size < 0 else -(2**31), size)
    return checked_sum(header)


@pytest.mark.parametrize(
    "members, told",
    [
        ([member("x.wav", type=tarfile.SYMTYPE, linkname="/etc/passwd"), JSON], "no plain file"),
        ([member("x.wav", type=tarfile.LNKTYPE, linkname="x.json"), JSON], "no plain file"),
        ([member("x.wav", type=tarfile.FIFOTYPE), JSON], "no plain file"),
        ([member("x.wav", type=tarfile.CONTTYPE), JSON], "no plain file"),
        ([member("x.wav", b"0" * 9, pax_headers={"GNU.sparse.size": "99", "GNU.sparse.map": "0,9"}), JSON], "no plain"),
        ([GOOD, member("x.json", type=tarfile.SYMTYPE, linkname="/etc/passwd")], "no plain file"),
        ([member("x.nodata"), member("x.nometa")], "has a placeholder instead of audio"),
        ([GOOD, member("x.nometa")], "has a placeholder instead of audio"),
        ([member("x.wav"), JSON], "'x.wav' has 0 bytes"),
        ([JSON, GOOD], "the member 'x.json' stands in its place"),
        ([GOOD, GOOD], "the member 'x.wav' stands in its place"),
        ([GOOD, JSON, GOOD, JSON], "holds more than the audio of its 1 cuts"),
        ([member("/x.wav", GOOD[1]), JSON], "the member '/x.wav' stands in its place"),
        ([member("../x.wav", GOOD[1]), JSON], "the member '../x.wav' stands in its place"),
        ([member("y\n.wav", GOOD[1]), JSON], r"the member 'y\\n.wav' stands in its place"),
        ([member("x.wav", GOOD[1], size=1 << 40), JSON], "'x.wav' has 1099511627776 bytes from"),
        ([member("x.wav", GOOD[1], size=6000), JSON], "'x.wav' has 6000 bytes from 512 on, the tar has 6144"),
        ([GOOD, member("x.json", b"{}", size=1 << 40)], "'x.json' has 1099511627776 bytes from"),
        ([member("x.wav", b"", pax_headers={"size": "-1024"}), JSON], "'x.wav' has -1024 bytes"),
        ([GOOD], "the tar ends before its audio"),
        ([], "the tar ends before its audio"),
        ([member("x", b"path=z.wav\n", type=tarfile.XHDTYPE)] * 3000, "not a whole tar"),
    ],
)
def test_a_hostile_tar_is_refused(copied, members, told):
    hostile(copied, members)
    before = sorted(copied.parent.rglob("*"))
    with pytest.raises(DataError, match=told) as error:
        make_shar_table(copied, nothing)
    assert "recording.000003.tar" in str(error.value) and "\n" not in str(error.value)
    assert sorted(copied.parent.rglob("*")) == before, "nothing was extracted"


@pytest.mark.parametrize("header, told", [(sparse(), "no plain file"), (sized(-1024), "'x.wav' has -1024 bytes")])
def test_hostile_headers(copied, header, told):
    hostile(copied, [])
    tail = JSON[0].tobuf() + b"{}".ljust(512, b"\0") + b"\0" * 1024
    (copied / "recording.000003.tar").write_bytes(header + tail)
    with pytest.raises(DataError, match=f"recording.000003.tar, cut 'x': .*{told}"):
        make_shar_table(copied, nothing)


def test_a_good_tar_made_like_the_hostile_ones_is_read(copied):
    for tar_format in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        hostile(copied, [GOOD, JSON], tar_format)
        table = make_shar_table(copied, nothing)
        assert len(table) == 13 and table.cut(12).recording.sources[0].source == GOOD[1]


@pytest.mark.parametrize(
    "change, told",
    [
        (lambda c: c["recording"]["sources"][0].update(type="file", source="/etc/passwd"), "source of type shar"),
        (lambda c: c["recording"]["sources"][0].update(type="memory", source="AAAA"), "source of type shar"),
        (lambda c: c["recording"]["sources"][0].update(type="command", source="touch x"), "'command' is refused"),
        (lambda c: c["recording"]["sources"].append(c["recording"]["sources"][0]), "source of type shar"),
        (lambda c: c.pop("recording"), "not a lhotse cut"),
        (lambda c: c.update(id="\ud800"), "surrogates not allowed"),
        (
            lambda c: c.update(type="MixedCut", tracks=[{"type": "MonoCut", "cut": dict(c), "offset": 0.0}]),
            "source of type shar",
        ),
    ],
)
def test_a_cut_that_does_not_lie_in_the_tar_is_refused(copied, change, told):
    path = copied / "cuts.000001.jsonl.gz"
    cuts = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    change(cuts[2])
    path.write_bytes(gzip.compress(b"\n".join(json.dumps(cut).encode() for cut in cuts)))
    with pytest.raises(DataError, match=f"cuts.000001.jsonl.gz, line 3: .*{told}"):
        make_shar_table(copied, nothing)


def test_audio_gone_since_is_left_out_and_told(copied, tokenizer):
    batches = stream(copied, tokenizer)
    tar = copied / "recording.000001.tar"
    tar.unlink()
    gone = [batch for batch in batches]
    assert sorted(x.split(":")[0] for b in gone for x in b.lost) == ["c5", "c6", "c7", "c8", "c9"]
    assert {name for batch in gone for name in batch.ids} >= {"c0", "c4", "c10", LONG}


def test_the_table_beside_the_bins_is_that_of_these_shards(copied, tokenizer, tmp_path, monkeypatch):
    config, sources = replace(CONFIG, bins=str(tmp_path / "bins.json")), read_sources(copied)
    tables = read_tables(sources, tokenizer, config)
    save_tables(tables, sources, tokenizer, config)
    made = []
    monkeypatch.setattr("speech.data.corpus.make_shar_table", lambda *a: made.append(a) or make_shar_table(*a))
    (again,) = read_tables(sources, tokenizer, config)
    assert not made and isinstance(again, SharTable)
    for name in (*SharTable.ARRAYS, "lines"):
        assert np.array_equal(getattr(again, name), getattr(tables[0], name)), name
    assert again.cut(7).recording.sources[0].source == tables[0].cut(7).recording.sources[0].source
    os.utime(copied / "recording.000001.tar", (1, 1))  # made anew, with an equal size
    read_tables(sources, tokenizer, config)
    assert len(made) == 1


def test_a_run_is_told_by_its_shards(copied, tmp_path):
    recipe = AEDRecipe()
    (tmp_path / "train.yaml").write_text("sources: [{shar: shar}]")
    for recipe.data.train in (str(copied), str(tmp_path / "train.yaml")):
        name = "the training manifest" if recipe.data.train == str(copied) else "the manifest shar"
        before = describe(recipe)
        assert before[name] == fingerprint(copied) == describe(recipe)[name]
        assert [key for key in before if key.startswith("the ")].count("the manifest shar") == (
            name == "the manifest shar"
        )
        with open(copied / "recording.000001.tar", "ab") as file:
            file.write(b"\0" * 512)
        assert describe(recipe) != before
        before = describe(recipe)
        cuts = copied / "cuts.000001.jsonl.gz"
        cuts.write_bytes(gzip.compress(gzip.decompress(cuts.read_bytes()).replace(b"one", b"two", 1)))
        assert describe(recipe) != before
    (copied / "cuts.000001.jsonl.gz").unlink()
    with pytest.raises(DataError, match="cuts.000001.jsonl.gz: is missing"):
        describe(recipe)


def test_two_manifests_of_one_name_both_count(tmp_path):
    recipe = AEDRecipe()
    recipe.data.train = str(tmp_path / "train.yaml")
    (tmp_path / "train.yaml").write_text("sources: [{manifest: a/m.jsonl}, {manifest: b/m.jsonl}]")
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "m.jsonl").write_text(name)
    before = describe(recipe)
    (tmp_path / "a" / "m.jsonl").write_text("other")
    assert describe(recipe) != before


def run(*argv):
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in argv])
    return ended.value.code


def test_the_command_writes_a_folder(stored, tmp_path, capsys):
    manifest, shar = stored
    out = tmp_path / "new" / "shar"
    assert run("data", "shar", manifest, out, "--shard_cuts", 5) == 0
    assert capsys.readouterr().out == f"{out}: 12 cuts in 3 shards, 0 of them encoded anew\n"
    assert [p.name for p in out.parent.iterdir()] == ["shar"]
    for path in shar.iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes(), "the same bytes each time"
    assert run("data", "shar", manifest, tmp_path / "x", "--shard_cuts", "0") == 2
    assert "shard_cuts 0 must be at least 1" in capsys.readouterr().err


@pytest.mark.parametrize("fault", ["missing", "broken", "short", "gone", "id", "disk", "stop"])
def test_a_fault_leaves_nothing_and_is_named(stored, tmp_path, monkeypatch, fault):
    cuts = [whole(tmp_path, f"c{i}", i) for i in range(5)]
    told, kind = "m.jsonl, cut 'c3': .*", DataError
    if fault == "missing":
        (tmp_path / "3.wav").unlink()
        told += "3.wav: No such file"
    if fault == "broken":
        (tmp_path / "3.wav").write_bytes(b"RIFF0000WAVE")
    if fault == "gone":  # since it was decoded
        read = Path.read_bytes
        gone = OSError(5, "Input/output error")
        monkeypatch.setattr(Path, "read_bytes", lambda p: read(p) if p.name != "3.wav" else (_ for _ in ()).throw(gone))
        told += "Input/output error"
    if fault == "short":
        cuts[3] = replace(cuts[3], duration=2.0)
        cuts[3].recording.duration, cuts[3].recording.num_samples = 2.0, 2 * RATE
        told += "the audio has 0.350 s where the manifest says 2.000 s"
    if fault == "id":
        cuts[3] = cuts[3].with_id("c3/")
        told = "recording.000001.tar, cut 'c3/': the member"
    if fault == "disk":
        monkeypatch.setattr(tarfile.TarFile, "addfile", lambda *a: (_ for _ in ()).throw(OSError(28, "No space left")))
        told = r"shar: cannot be written \(No space left\)"
    if fault == "stop":
        monkeypatch.setattr(tarfile.TarFile, "addfile", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
        told, kind = "^$", KeyboardInterrupt
    save_manifest(cuts, tmp_path / "m.jsonl")
    (tmp_path / "out").mkdir()
    with pytest.raises(kind, match=told) as error:
        write_shar(tmp_path / "m.jsonl", tmp_path / "out" / "shar", 2)
    assert "\n" not in str(error.value) and not list((tmp_path / "out").iterdir())


def test_a_folder_that_is_there_stays_as_it_is(stored, tmp_path):
    (tmp_path / "note").write_text("mine")
    with pytest.raises(SpeechError, match="exists and is not an empty folder"):
        write_shar(stored[0], tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["note"]
    (tmp_path / "note").unlink()
    assert write_shar(stored[0], tmp_path).cuts == 12
