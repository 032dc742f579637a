"""What is in the graph of a voice, and that it computes what torch does."""

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from tiny_voice import FULL, MEL, fastspeech, parts, saved

from export.piper import export_piper, piper_settings
from export.voice_check import check_voice
from export.voice_package import export_voice
from serve.sessions import CPU, Session
from speech.errors import SpeechError
from speech.models.vocos import Vocos
from speech.nn.mel_config import VocosConfig
from speech.text.phoneme_table import PhonemeTable
from speech.text.phoneme_tokenizer import PhonemeTokenizer
from speech.text.phonemes import load_phonemizer
from speech.vocoder_folder import save_vocoder
from speech.voice_folder import load_voice, save_voice
from speech.voice_parts import VoiceParts

STEPWISE = ("encoder", "decoder", "vocoder")
OUTPUTS = ("waveforms", "samples", "durations", "mels")
LENGTHS = [11, 4, 17]


@pytest.fixture(scope="module")
def session(voice_folders: dict[str, tuple[Path, Path]]) -> Session:
    return Session(voice_folders["fastspeech"][1] / "voice.onnx", CPU, 1)


def sentences(lengths: list[int]) -> dict[str, np.ndarray]:
    """Each with its own manner; what is behind a length is no padding but noise."""
    rng, shape = np.random.default_rng(0), (len(lengths), max(lengths))
    given = np.zeros(shape, np.int64)
    given[:, 2] = 9
    return {
        "phonemes": rng.integers(1, 20, shape),
        "lengths": np.array(lengths),
        "length_scale": rng.uniform(0.7, 1.5, (len(lengths), 1)).astype(np.float32),
        "duration_scale": np.where(rng.random(shape) < 0.3, 2, 1).astype(np.float32),
        "given_durations": given * (np.arange(shape[1]) < np.array(lengths)[:, None]),
        "pitch_scale": rng.uniform(0.7, 1.5, (len(lengths), 1)).astype(np.float32),
        "energy_scale": rng.uniform(0.7, 1.5, (len(lengths), 1)).astype(np.float32),
        "speaker": np.arange(len(lengths)) % 2,
        "language": np.arange(len(lengths)) // 2,
    }


def test_the_graph_is_torch(session, voice_folders):
    voice, inputs = load_voice(voice_folders["fastspeech"][0]), sentences(LENGTHS)
    found = session.run(inputs, OUTPUTS)
    given = {name: torch.from_numpy(x) for name, x in inputs.items()}
    with torch.inference_mode():
        out = voice.model.synthesize(given.pop("phonemes"), given.pop("lengths"), **given)
        mel = voice.model.denormalize(out.mel)
        truth = voice.vocoder(mel, out.mel_lengths).numpy()
    assert np.array_equal(found["durations"], out.durations) and len({*found["samples"]}) == 3
    assert np.array_equal(found["samples"], out.mel_lengths * MEL.hop)
    np.testing.assert_allclose(found["waveforms"], truth, atol=1e-5 * np.abs(truth).max() + 1e-7)
    np.testing.assert_allclose(found["mels"], mel, atol=1e-5)


def test_a_batch_is_its_sentences(session):
    inputs = sentences(LENGTHS)
    together = session.run(inputs, OUTPUTS)
    for row, n in enumerate(LENGTHS):
        one = {name: x[row : row + 1] for name, x in inputs.items()}
        one |= {name: x[:, :n] for name, x in one.items() if x.ndim == 2 and x.shape[1] > 1}
        alone = session.run(one, OUTPUTS)
        samples = alone["samples"][0]
        assert samples == together["samples"][row] == alone["waveforms"].shape[1]
        assert np.array_equal(alone["durations"][0], together["durations"][row, :n])
        np.testing.assert_allclose(alone["waveforms"][0], together["waveforms"][row, :samples], atol=1e-7)
        assert not together["waveforms"][row, samples:].any()


def test_one_frame_is_sound_too(session):
    inputs = sentences([3])
    one = {name: x[:, :1] if x.ndim == 2 else x for name, x in inputs.items()} | {"lengths": np.array([1])}
    found = session.run({**one, "given_durations": np.ones((1, 1), np.int64)}, OUTPUTS)
    assert found["waveforms"].shape == (1, MEL.hop) and np.isfinite(found["waveforms"]).all()


def test_every_attention_is_one_node(voice_folders):
    kinds = Counter(node.op_type for node in onnx.load(voice_folders["fastspeech"][1] / "voice.onnx").graph.node)
    assert kinds["Attention"] == FULL.encoder_layers + FULL.decoder_layers and not kinds["Softmax"]


def test_every_attention_of_a_step_is_one_node_and_its_cache_is_written_in_place(voice_folders):
    out = voice_folders["transformer_tts"][1]
    nodes = {name: Counter(n.op_type for n in onnx.load(out / f"{name}.onnx").graph.node) for name in STEPWISE}
    assert [nodes[name]["Attention"] for name in STEPWISE] == [1, 2, 0]  # an encoder and a decoder layer
    assert nodes["decoder"]["TensorScatter"] == 2 and not any(kinds["Softmax"] for kinds in nodes.values())
    graph = onnx.load(out / "decoder.onnx").graph
    made = {name: node.op_type for node in graph.node for name in node.output}
    assert {made[o.name] for o in graph.output if o.name.startswith("present_")} == {"TensorScatter"}


@pytest.mark.parametrize("kind", ["fastspeech", "transformer_tts"])
def test_the_check_passes_for_its_own_voice_alone(voice_folders, tmp_path, kind):
    source, out = voice_folders[kind]
    assert [fault for _, fault in check_voice(source, out, [])] == [""] * (4 if kind == "fastspeech" else 6)
    other = saved(tmp_path / "other", load_voice(source).model, parts())
    torch.manual_seed(5)
    save_vocoder(other / "vocoder", Vocos(VocosConfig(MEL, d_model=8, n_layers=1, d_ff=16, kernel=3)).eval())
    assert [what for what, fault in check_voice(other, out, []) if fault][-1].startswith("32: waveforms ")


def test_windows_of_heads_are_not_exported(voice_folders, tmp_path):
    folder = shutil.copytree(voice_folders["transformer_tts"][0], tmp_path / "voice")
    settings = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**settings, "window_heads": [[0, 0]]}))
    with pytest.raises(SpeechError, match="window_heads in generation_config.json are not exported; make them"):
        export_voice(folder, tmp_path / "out", ["32"])
    with pytest.raises(SpeechError, match="piper speaks in one pass"):
        export_piper(folder, tmp_path / "out")


def test_a_voice_without_a_vocoder_is_told(tmp_path):
    save_voice(tmp_path, fastspeech(), parts())
    for write in (lambda: export_voice(tmp_path, tmp_path / "out", ["32"]), lambda: export_piper(tmp_path, tmp_path)):
        with pytest.raises(SpeechError, match="has no vocoder and Griffin-Lim is not exported: put one into .*vocoder"):
            write()


def test_piper_gets_our_ids(voice_folders):
    """By piper's own rules: code points that vowel_clusters join, longest first, or those of the text alone."""
    table = PhonemeTable.build([["h", "ˈɑː", "ɑ", "t", "ˈɑ", "ç", ",", "."]])
    voice = VoiceParts(PhonemeTokenizer(table, "de"), [load_phonemizer({"kind": "espeak", "language": "de"})])
    settings = piper_settings(voice, MEL)
    ids = settings["phoneme_id_map"]
    assert settings["phoneme_type"] == "espeak" and settings["espeak"]["voice"] == "de"
    assert [ids[c] for c in "_^$ "] == [[0], [1], [2], [3]]
    assert sorted(map(tuple, settings["vowel_clusters"])) == [("c", "\u0327"), ("ˈ", "ɑ"), ("ˈ", "ɑ", "ː")]
    assert [ids["".join(c)][0] for c in settings["vowel_clusters"]] == table.encode(
        ["ç" if c[0] == "c" else "".join(c) for c in settings["vowel_clusters"]]
    )
    letters = piper_settings(parts(), MEL)
    assert letters["phoneme_type"] == "text" and letters["speaker_id_map"] == {"Anna": 0, "Bo": 1}
    assert letters["phoneme_id_map"]["A"] == letters["phoneme_id_map"]["a"] == [parts().tokenizer.table.encode("a")[0]]
    english = VoiceParts(voice.tokenizer, [load_phonemizer({"kind": "lexicon", "language": "en"})])
    with pytest.raises(SpeechError, match="piper reads by espeak or by letters, the voice by lexicon in en"):
        piper_settings(english, MEL)


@pytest.mark.slow
def test_the_graph_for_piper_drops_its_padding(voice_folders, tmp_path):
    import onnxruntime as ort

    export_piper(voice_folders["fastspeech"][0], tmp_path)
    graph = ort.InferenceSession(tmp_path / "voice.onnx")
    ids, spread = [1, 9, 14, 3, 8, 2], [1, 0, 9, 0, 14, 0, 3, 0, 8, 0, 2]

    def said(ids: list[int], scale: float) -> np.ndarray:
        scales = np.array([0.6, scale, 0.8], np.float32)
        inputs = {"input": np.array([ids]), "input_lengths": np.array([len(ids)]), "scales": scales}
        return graph.run(None, {**inputs, "sid": np.array([1])})[0]

    assert said(ids, 1.0).shape[:2] == (1, 1)
    np.testing.assert_allclose(said(ids, 1.0), said(spread, 1.0), atol=1e-7)
    assert said(ids, 2.0).shape[2] == pytest.approx(2 * said(ids, 1.0).shape[2], abs=MEL.hop)
