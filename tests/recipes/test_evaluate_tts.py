import json
import re
from dataclasses import replace

import jiwer
import numpy as np
import pytest
import soundfile as sf
import torch
from markupsafe import escape
from safetensors.torch import load_file, save_file
from tiny_cuts import cut_of

from recipes.evaluate_tts import main
from recipes.tts_report import SOUNDS, markdown, tables
from speech.data.arrays import save_arrays
from speech.data.manifests import open_manifest, save_manifest
from speech.errors import DataError, SpeechError
from speech.metrics import error_rates
from speech.models.fastspeech import FastSpeech
from speech.models.griffin_lim import GriffinLim
from speech.models.transformer_tts import TransformerTTS
from speech.models.vocos import Vocos
from speech.nn.mel import LogMel
from speech.nn.mel_config import MelConfig, VocosConfig
from speech.nn.transformer_tts_config import TransformerTTSConfig
from speech.nn.tts_config import FastSpeechConfig
from speech.recognizer import load_model
from speech.request import UNGUARDED
from speech.synthesizer import Synthesizer
from speech.text.lexicon import LexiconPhonemizer
from speech.text.phoneme_table import PhonemeTable
from speech.text.phoneme_tokenizer import PhonemeTokenizer, written
from speech.tts_metrics import mel_cepstral_distortion
from speech.vocoder_folder import save_vocoder
from speech.voice_folder import save_voice
from speech.voice_parts import VoiceParts

RATE, HOP = 8000, 64
MEL = MelConfig(RATE, n_fft=256, win=256, hop=HOP, n_mels=20, high_hz=4000)
TEXTS = ["one two", "seven three", "nine"]
SOUNDS_OF = [(0.5, 150), (0.6, 180), (0.4, 210)]  # seconds and Hz of the recordings
SAID = ["One two.", "7 three!", "nine"]  # the same as a corpus may write it
PHONEMIZER = LexiconPhonemizer("en")
PHONEMES = [PHONEMIZER(text) for text in TEXTS]


def make_voice(folder, kind="fastspeech"):
    torch.manual_seed(0)
    table = PhonemeTable.build(PHONEMES)
    if kind == "fastspeech":
        config = FastSpeechConfig(MEL, 16, 2, 1, 1, 32, predictor_filters=8, pitch=True)
        model = FastSpeech(config, len(table))
        torch.nn.init.constant_(model.duration.out.bias, 2.0)
    else:
        model = TransformerTTS(
            TransformerTTSConfig(MEL, 16, 2, 1, 1, 32, 1, 16, postnet_layers=2, postnet_channels=8), len(table)
        )
    model.mel_mean.fill_(-4)
    save_voice(folder, model.eval(), VoiceParts(PhonemeTokenizer(table, "en"), [PHONEMIZER]))
    return folder


def tone(seconds, hz):
    t = np.arange(round(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * hz * t) * np.sin(np.pi * t / seconds)).astype(np.float32)


def make_manifest(path, phonemes=PHONEMES):
    save_manifest(
        [
            cut_of(path.parent, f"c{i}", tone(*SOUNDS_OF[i]), RATE, written(tokens), custom={"said": text})
            for i, (text, tokens) in enumerate(zip(SAID, phonemes, strict=True))
        ],
        path,
    )
    return path


def evaluate(voice, manifest, out, *arguments):
    main([str(voice), "--manifest", str(manifest), "--out", str(out), "--device", "cpu", *map(str, arguments)])
    return json.loads((out / "results.json").read_text())


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_model):
    """Both kinds of voice, with all that can be given to them."""
    folder = tmp_path_factory.mktemp("tts")
    manifest = make_manifest(folder / "test.jsonl.gz")
    arrays = []
    for i, tokens in enumerate(PHONEMES):
        cuts = np.linspace(0, len(tone(*SOUNDS_OF[i])) // HOP, len(tokens) + 3).round().astype(int)
        arrays.append((f"c{i}", np.diff(cuts)))
    save_arrays(folder / "durations.npz", arrays)
    (folder / "hard.txt").write_text("one\n\n  \n!!!\nseven three one nine\n<b>&\n")
    found = {}
    for kind in ("fastspeech", "transformer_tts"):
        given = ["--recognizer", tiny_model, "--aligner-durations", folder / "durations.npz"]
        given += ["--sentences", folder / "hard.txt", "--examples", 2]
        found[kind] = evaluate(make_voice(folder / kind, kind), manifest, folder / f"{kind}-out", *given)
    return folder, found


@pytest.mark.parametrize("kind", ["fastspeech", "transformer_tts"])
def test_numbers_are_those_of_the_sounds_on_the_page(made, kind, tiny_model):
    """What is written as sound is what was measured: the judge and the mel tell the same of the files."""
    folder, found = made[0], made[1][kind]
    judge, mel = load_model(tiny_model, "cpu"), LogMel(MEL)
    assert [row["id"] for row in found["rows"]] == ["c0", "c1", "c2"] and not found["failed"]
    assert [row["said"] for row in found["rows"]] == TEXTS
    assert ["shown" in row for row in found["rows"]] == [True, True, False]
    for row in found["rows"][:2]:
        stem = folder / f"{kind}-out" / row["shown"]["files"]
        sounds = {name: sf.read(f"{stem}-{name}.flac", dtype="float32") for name in SOUNDS}
        assert {rate for _, rate in sounds.values()} == {RATE}
        mels = {name: mel(torch.from_numpy(x)[None])[0].numpy() for name, (x, _) in sounds.items()}
        assert {name: len(m) for name, m in mels.items()} == row["frames"]
        for name in ("copy", "synthesis"):
            value, _ = mel_cepstral_distortion(mels["recording"], mels[name])
            assert row[name]["mcd"] == pytest.approx(value, rel=0.02)  # a file has 16 bits
        copy = GriffinLim(MEL)(mel(torch.from_numpy(sounds["recording"][0])[None]))[0].numpy()
        np.testing.assert_allclose(copy, sounds["copy"][0], atol=0.01)
        heard = judge.transcribe(sounds["recording"][0], sampling_rate=RATE, **UNGUARDED).text
        assert row["heard"]["recording"] == heard


def test_synthesis_is_what_the_voice_says(made):
    folder, found = made[0], made[1]["fastspeech"]
    for row, tokens in zip(found["rows"], PHONEMES, strict=True):
        (said,) = Synthesizer(folder / "fastspeech", "cpu").speak(f"[[{written(tokens)}]]")
        assert row["frames"]["synthesis"] == len(said.mel) and row["phonemes"] == row["reached"]
        if "shown" in row:
            assert [n for _, n in row["shown"]["phonemes"]["synthesis"]] == said.frames.tolist()
            x, _ = sf.read(folder / "fastspeech-out" / f"{row['shown']['files']}-synthesis.flac", dtype="float32")
            np.testing.assert_allclose(x, said.waveform, atol=1e-4)


def test_what_each_kind_of_voice_is_asked(made):
    fast, slow = made[1]["fastspeech"]["reading"], made[1]["transformer_tts"]["reading"]
    assert fast["mel_l1"] > 0 and fast["ended"] is None and "jumps" not in fast
    assert slow["mel_l1"] is None and 0 <= slow["ended"] <= 1 and 0 < slow["focus_rate"] <= 1 and slow["jumps"] >= 0
    assert slow["reached"] <= slow["phonemes"] == fast["phonemes"] == fast["reached"]
    assert fast["duration_mae_ms"] > 0 and fast["rate_ratio"] > 0


@pytest.mark.parametrize("kind", ["fastspeech", "transformer_tts"])
def test_hard_sentences_are_counted_and_none_is_fatal(made, kind):
    hard = made[1][kind]["hard"]
    assert (hard["sentences"], hard["spoken"]) == (4, 2)
    assert [u["text"] for u in hard["unspoken"]] == ["!!!", "<b>&"]
    assert [row["text"] for row in hard["rows"]] == ["one", "seven three one nine"]
    for row in hard["rows"]:
        edits = jiwer.process_words(row["said"], row["heard"])
        assert (row["repeat"], row["skip"]) == (edits.insertions > 0, edits.deletions > 0)
        assert row["either"] == (row["repeat"] or row["skip"])
    for key in ("repeat", "skip", "either", "phonemes", "reached"):
        assert hard[key] == sum(row[key] for row in hard["rows"])
    assert hard["phonemes"] == 3 + 5 + 3 + 3 + 3
    assert ("capped" in hard) == ("jumps" in hard) == (kind == "transformer_tts")


def test_a_sentence_without_end_is_counted(tmp_path):
    voice, manifest = make_voice(tmp_path / "voice", "transformer_tts"), make_manifest(tmp_path / "t.jsonl")
    weights = load_file(voice / "model.safetensors")
    weights["stop.bias"] -= 50
    save_file(weights, voice / "model.safetensors")
    (tmp_path / "hard.txt").write_text("one\n")
    found = evaluate(voice, manifest, tmp_path / "out", "--sentences", tmp_path / "hard.txt", "--limit", 1)
    assert found["reading"]["ended"] == 0 and found["hard"]["capped"] == 1
    assert found["rows"][0]["frames"]["synthesis"] == 2 * 8 * (len(PHONEMES[0]) + 2)
    assert found["round_trip"] is None and found["rows"][0]["heard"]["copy"] is None


@pytest.mark.parametrize("kind", ["fastspeech", "transformer_tts"])
def test_the_tables_and_the_page_tell_what_the_results_hold(made, kind):
    folder, found = made[0] / f"{kind}-out", made[1][kind]
    text, html = (folder / "results.md").read_text(), (folder / "index.html").read_text()
    assert markdown(tables(found)) in text
    for table in tables(found):
        assert f"<h2>{table.title}</h2>" in html
        for row in table.rows:
            assert "".join(f"<td>{escape(cell)}</td>" for cell in row) in html
    trip = found["round_trip"]
    again = error_rates(["0", "1", "2"], TEXTS, [row["heard"]["synthesis"] for row in found["rows"]], "char")
    assert trip["synthesis"]["cer"] == again.rate and f"| {100 * again.rate:.2f} % |" in text
    for match in re.findall(r'src="([^"]*)"', html):
        assert (folder / match).stat().st_size > 0
    assert html.count("<audio") == 6 and html.count('class="attention"') == (2 if kind == "transformer_tts" else 0)
    assert "<b>&</b>" not in html and "&lt;b&gt;&amp;: " in html


def test_copy_synthesis_by_another_vocoder(tmp_path):
    voice, manifest = make_voice(tmp_path / "voice"), make_manifest(tmp_path / "t.jsonl")
    plain = evaluate(voice, manifest, tmp_path / "plain", "--limit", 1)
    torch.manual_seed(0)
    save_vocoder(tmp_path / "vocos", Vocos(VocosConfig(MEL, 8, 1, 16, 3)))
    other = evaluate(voice, manifest, tmp_path / "other", "--limit", 1, "--vocoder", tmp_path / "vocos")
    assert (plain["vocoder"], other["vocoder"]) == ("GriffinLim", "Vocos")
    assert plain["sound"]["copy"] != other["sound"]["copy"] and plain["rows"][0]["frames"] == other["rows"][0]["frames"]
    save_vocoder(tmp_path / "vocos", Vocos(VocosConfig(replace(MEL, n_mels=10), 8, 1, 16, 3)))
    with pytest.raises(SpeechError, match="vocos: its mel is .*n_mels=10.*, not .*n_mels=20"):
        evaluate(voice, manifest, tmp_path / "x", "--vocoder", tmp_path / "vocos")


def test_an_utterance_that_fails_is_named_and_the_others_are_compared(tmp_path, capsys):
    voice = make_voice(tmp_path / "voice")
    manifest = make_manifest(tmp_path / "t.jsonl", [PHONEMES[0], ["XX"], PHONEMES[2]])
    with pytest.raises(DataError, match="^1 utterances are not in the result"):
        evaluate(voice, manifest, tmp_path / "out")
    assert "error: c1: the voice has no phoneme 'XX'" in capsys.readouterr().err
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [row["id"] for row in found["rows"]] == ["c0", "c2"] and [f["id"] for f in found["failed"]] == ["c1"]
    cuts = list(open_manifest(manifest))
    cuts[0].supervisions[0].custom = {}
    save_manifest(cuts[:1], tmp_path / "silent.jsonl")
    with pytest.raises(DataError, match="none of 1 utterances"):
        evaluate(voice, tmp_path / "silent.jsonl", tmp_path / "out")
    assert "error: c0: no phonemes, or not what was said" in capsys.readouterr().err
    save_arrays(tmp_path / "d", [(f"c{i}", np.array([1, 2])) for i in range(3)])
    with pytest.raises(DataError, match="none of 3 utterances could be spoken and compared"):
        evaluate(voice, manifest, tmp_path / "out", "--aligner-durations", tmp_path / "d.npz")
    assert capsys.readouterr().err.count("its durations do not fit") == 2
    with pytest.raises(SpeechError, match="No such file .*/nothing.txt'; give another --out or --sentences"):
        evaluate(voice, manifest, tmp_path / "out", "--sentences", tmp_path / "nothing.txt")
