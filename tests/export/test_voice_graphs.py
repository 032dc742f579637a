"""What is in the graph of a voice, and that it computes what torch does."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from tiny_voice import FULL, MEL, fastspeech, parts

from export.piper import export_piper, piper_settings
from export.voice_package import export_voice
from serve.sessions import CPU, Session
from speech.errors import SpeechError
from speech.text.phoneme_table import PhonemeTable
from speech.text.phoneme_tokenizer import PhonemeTokenizer
from speech.text.phonemes import load_phonemizer
from speech.voice_folder import load_voice, save_voice
from speech.voice_parts import VoiceParts

OUTPUTS = ("waveforms", "samples", "durations", "mels")
LENGTHS = [11, 4, 17]


@pytest.fixture(scope="module")
def session(voice_folders: tuple[Path, Path]) -> Session:
    return Session(voice_folders[1] / "voice.onnx", CPU, 1)


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
    voice, inputs = load_voice(voice_folders[0]), sentences(LENGTHS)
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
    kinds = Counter(node.op_type for node in onnx.load(voice_folders[1] / "voice.onnx").graph.node)
    assert kinds["Attention"] == FULL.encoder_layers + FULL.decoder_layers and not kinds["Softmax"]


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

    export_piper(voice_folders[0], tmp_path)
    graph = ort.InferenceSession(tmp_path / "voice.onnx")
    ids, spread = [1, 9, 14, 3, 8, 2], [1, 0, 9, 0, 14, 0, 3, 0, 8, 0, 2]

    def said(ids: list[int], scale: float) -> np.ndarray:
        scales = np.array([0.6, scale, 0.8], np.float32)
        inputs = {"input": np.array([ids]), "input_lengths": np.array([len(ids)]), "scales": scales}
        return graph.run(None, {**inputs, "sid": np.array([1])})[0]

    assert said(ids, 1.0).shape[:2] == (1, 1)
    np.testing.assert_allclose(said(ids, 1.0), said(spread, 1.0), atol=1e-7)
    assert said(ids, 2.0).shape[2] == pytest.approx(2 * said(ids, 1.0).shape[2], abs=MEL.hop)
