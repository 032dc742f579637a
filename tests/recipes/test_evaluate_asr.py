import json

import numpy as np
import pytest
import soundfile as sf
import torch
from tiny_cuts import cut_of

from recipes.evaluate_asr import main
from speech import cli
from speech.data.manifests import save_manifest
from speech.errors import DataError, SpeechError
from speech.folder import save_model
from speech.generation import GenerationConfig
from speech.metrics import error_rates
from speech.models.aed import AED
from speech.nn.config import AEDConfig, DecoderConfig, EncoderConfig, FrontendConfig
from speech.recognizer import load_model
from speech.request import UNGUARDED
from speech.text.tokenizer import Tokenizer

RATE = 16000
WAVEFORMS = [np.random.default_rng(i).normal(size=8000 + 4000 * i).astype(np.float32) * 0.1 for i in range(4)]


@pytest.fixture
def model(tmp_path):
    return make_model(tmp_path)


def make_model(tmp_path, **generation):
    tokenizer = Tokenizer.train(["ONE TWO THREE"], tmp_path / "t.model", 64, "bpe", False, languages=("en", "zh"))
    torch.manual_seed(0)
    encoder = EncoderConfig(d_model=16, n_layers=1, n_heads=2, d_ff=32, subsampling_channels=4, conv_kernel=3)
    decoder = DecoderConfig(d_model=16, n_layers=1, n_heads=2, d_ff=32)
    net = AED(AEDConfig(FrontendConfig(n_mels=16), encoder, decoder), tokenizer.size)
    save_model(tmp_path / "model", net, Tokenizer.load(tmp_path / "t.model"), GenerationConfig(**generation))
    return tmp_path / "model"


def heard(model, beam_size=None):
    found = load_model(model, "cpu").transcribe(WAVEFORMS, sampling_rate=RATE, beam_size=beam_size, **UNGUARDED)
    assert all(t.text for t in found)
    return [t.text for t in found]


def evaluate(model, *arguments):
    main([str(model), *map(str, arguments), "--device", "cpu"])


def make_folder(folder, texts, split="test"):
    """manifest.tsv with utterances u0, u1, ... of speakers s0, s1."""
    folder.mkdir(parents=True)
    rows = [f"u{i}\ts{i % 2}\t{split}\tu{i}.wav\t{text}" for i, text in enumerate(texts)]
    (folder / "manifest.tsv").write_text("\n".join(["id\tspeaker\tsplit\taudio\ttext", *rows]) + "\n")
    for i, _ in enumerate(texts):
        sf.write(folder / f"u{i}.wav", WAVEFORMS[i], RATE, subtype="FLOAT")
    return folder


def make_manifest(path, texts):
    save_manifest([cut_of(path.parent, f"c{i}", WAVEFORMS[i], RATE, text) for i, text in enumerate(texts)], path)
    return path


def cells(table):
    """Rows of a Markdown table under its head."""
    rows = [line for line in table.split("\n") if line.startswith("| ")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[1:]]


def test_two_sets_and_what_is_written_of_them(model, tmp_path, capsys):
    a, b, c, d = heard(model)
    folder = make_folder(tmp_path / "corpus", [a, f"{b} more", "", f"one more {d}"])
    manifest = make_manifest(tmp_path / "test.jsonl.gz", ["zero", None, c])
    out = tmp_path / "out"
    evaluate(model, folder, manifest, "--out", out, "--batch_size", 3)
    words = [len(text.split()) for text in (a, b, c, d)]
    total = words[0] + words[1] + words[3] + 3
    first, second = cells((out / "results.md").read_text())
    assert first[:4] == ["corpus-test", "3", "0.1", f"WER {300 / total:.2f} %"]
    assert first[4:9] == ["0", "3", "0", str(total), "33.3 %"]
    assert second[:2] == ["test", "2"] and second[4:9] == ["1", "0", str(words[0] - 1), str(1 + words[2]), "50.0 %"]
    assert "Not counted: 2 utterances without reference text.\n" in (out / "results.md").read_text()
    printed = capsys.readouterr().out
    assert (out / "results.md").read_text() in printed
    assert f"u3: 2 errors\n    ref one more {d}\n    hyp {d}\n" in printed
    assert (out / "corpus-test" / "ref.trn").read_text() == f"{a} (s0-u0)\n{b} more (s1-u1)\none more {d} (s1-u3)\n"
    assert (out / "corpus-test" / "hyp.trn").read_text() == f"{a} (s0-u0)\n{b} (s1-u1)\n{d} (s1-u3)\n"
    assert (out / "test" / "hyp.trn").read_text() == f"{a} (unknown-c0)\n{c} (unknown-c2)\n"
    for name, seconds, errors in [("corpus-test", 3.5, [0, 1, 2]), ("test", 2.25, [words[0], 0])]:
        rows = [json.loads(line) for line in (out / name / "results.jsonl").read_text().splitlines()]
        assert [row["errors"] for row in rows] == errors
        again = error_rates(*([row[key] for row in rows] for key in ("id", "ref", "hyp")), "word")
        summary = json.loads((out / name / "summary.json").read_text())
        assert summary["error_rate"] == again.rate and summary["sentence_error_rate"] == again.sentence_rate
        for key in ("substitutions", "deletions", "insertions", "tokens"):
            assert summary[key] == getattr(again, key)
        assert (summary["unit"], summary["utterances"], summary["empty_references"]) == ("word", len(rows), 1)
        assert summary["audio_seconds"] == seconds and summary["rtfx"] > 0


def test_settings_reach_the_search(model, tmp_path):
    texts = heard(model, beam_size=4)
    assert texts != heard(model)
    folder, out = make_folder(tmp_path / "corpus", texts, "dev"), tmp_path / "out"
    evaluate(model, folder, "--split", "dev", "--beam_size", 4, "--out", out)
    assert json.loads((out / "corpus-dev" / "summary.json").read_text())["error_rate"] == 0


def test_both_texts_are_normalised(model, tmp_path):
    folder, out = make_folder(tmp_path / "corpus", [f" {text.title()}! " for text in heard(model)]), tmp_path / "out"
    evaluate(model, folder, "--normalize", "en", "--out", out)
    assert json.loads((out / "corpus-test" / "summary.json").read_text())["error_rate"] == 0
    evaluate(model, folder, "--out", out)
    assert json.loads((out / "corpus-test" / "summary.json").read_text())["error_rate"] >= 1


def test_characters_count_where_the_language_has_no_blanks(tmp_path):
    model = make_model(tmp_path, language="zh")
    texts = heard(model)
    folder, out = make_folder(tmp_path / "corpus", [text.replace(" ", "") for text in texts]), tmp_path / "out"
    for options, unit, rate in [([], "char", 0), (["--unit", "word"], "word", 1)]:
        evaluate(model, folder, "--out", out, *options)
        summary = json.loads((out / "corpus-test" / "summary.json").read_text())
        assert (summary["unit"], min(1, summary["error_rate"])) == (unit, rate)


def test_a_recording_that_fails_is_named_and_the_others_are_scored(tmp_path, capsys):
    model = make_model(tmp_path)
    texts = heard(make_model(tmp_path / "longer"))
    folder, out = make_folder(tmp_path / "corpus", texts), tmp_path / "out"
    (folder / "u0.wav").write_bytes(b"junk" * 9)
    (folder / "u2.wav").unlink()
    sf.write(folder / "u3.wav", np.zeros(9), 16000)
    arguments = ["evaluate", str(model), str(folder), "--out", str(out), "--device", "cpu"]
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 1
    lines = [line for line in capsys.readouterr().err.split("\n") if line.startswith("error: ")]
    expected = [("u0", "known kind"), ("u2", "line 4"), ("u3", "too short"), ("3 rec", "see above")]
    for line, words in zip(lines, expected, strict=True):
        assert all(word in line for word in words)
    [row] = cells((out / "results.md").read_text())
    assert row[:2] == ["corpus-test", "1"] and row[3] == "WER 0.00 %"
    assert "Not counted: 3 recordings that could not be read.\n" in (out / "results.md").read_text()
    assert json.loads((out / "corpus-test" / "summary.json").read_text())["failed"] == 3


def test_a_broken_file_of_another_split_does_not_matter(model, tmp_path):
    folder = make_folder(tmp_path / "corpus", heard(model))
    (folder / "manifest.tsv").open("a").write("x\ts0\ttrain\tx.wav\tone\n")
    evaluate(model, folder)


def test_sets_of_one_name_do_not_overwrite_each_other(model, tmp_path):
    texts, out = heard(model), tmp_path / "out"
    for name, said in (("a", texts[:1]), ("b", texts[:2])):
        (tmp_path / name).mkdir()
        make_manifest(tmp_path / name / "test.jsonl", said)
    evaluate(model, *(tmp_path / n / "test.jsonl" for n in "ab"), "--out", out)
    assert [row[:2] for row in cells((out / "results.md").read_text())] == [["test", "1"], ["test-2", "2"]]
    assert len((out / "test-2" / "hyp.trn").read_text().splitlines()) == 2


def test_faults_are_one_line(model, tmp_path):
    folder = make_folder(tmp_path / "corpus", ["one"])
    silent = make_folder(tmp_path / "silent", ["", ""])
    twice = make_folder(tmp_path / "twice", ["one", "one"])
    (twice / "manifest.tsv").write_text((twice / "manifest.tsv").read_text().replace("u1\t", "u0\t"))
    (tmp_path / "file").touch()
    for arguments, kind, message in [
        ([folder, "--split", "dev"], DataError, "corpus: no split 'dev'; there are test$"),
        ([silent], DataError, "silent-test: none of 2 utterances has audio and a reference text"),
        ([twice], DataError, r"twice/manifest.tsv: the id 'u0' stands on 2 lines"),
        ([tmp_path / "none.jsonl"], DataError, "none.jsonl: cannot be read"),
        ([tmp_path / "none.jsonl", "--beam_size", "0"], SpeechError, "beam_size 0 must be at least 1"),
        ([tmp_path / "none.jsonl", "--batch_size", "0"], SpeechError, "batch_size 0 must be at least 1"),
        ([folder, "--out", tmp_path / "file"], SpeechError, "output folder .*/file: File exists; give another --out"),
    ]:
        with pytest.raises(kind, match=message) as caught:
            evaluate(model, *arguments)
        assert "\n" not in str(caught.value)
    with pytest.raises(SystemExit):
        evaluate(model, folder, "--normalize", "fr")
