"""A Canary folder of transformers, made by data/make_canary_folder.py: ours == what transformers answered."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from speech.errors import SpeechError
from speech.folder import load_folder
from speech.importers import canary_folder
from speech.importers.convert import convert
from speech.models.step import TorchStep
from speech.search.beam import BeamOptions, beam_search
from speech.text.prompt import Prompt

FOLDER = Path(__file__).parent / "data" / "canary_folder"
EXPECTED = load_file(FOLDER / "expected.safetensors")
FACTS = json.loads((FOLDER / "expected.json").read_text())
WEIGHTS, CONFIG, TOKENIZER = "model.safetensors", "config.json", "tokenizer.json"


@pytest.fixture(scope="module")
def imported():
    torch.set_num_threads(1)
    return canary_folder.read(FOLDER)


@pytest.fixture
def folder(tmp_path) -> Path:
    return Path(shutil.copytree(FOLDER, tmp_path / "canary"))


def clip(samples: int) -> np.ndarray:
    """As in make_canary_folder.py."""
    n = np.arange(samples)
    t, noise = n / 16000, (n * n % 104729) / 104729 - 0.5
    tone = np.sin(2 * np.pi * (200 + 900 * t) * t) * np.sin(2 * np.pi * 3 * t) ** 2
    return (0.3 * tone + 0.02 * noise).astype(np.float32)


def close(ours, theirs, lengths, atol):
    for a, b, n in zip(ours, theirs, lengths.tolist(), strict=True):
        torch.testing.assert_close(a[:n], b[:n], rtol=0, atol=atol)


@torch.no_grad()
def test_features_encoder_and_logits_are_those_of_transformers(imported):
    model = imported[0]
    lengths = torch.tensor([9000, 5200])
    waveforms = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(clip(n)) for n in lengths], batch_first=True)
    features, frames = model.frontend(waveforms, lengths)
    assert torch.equal(frames, EXPECTED["lengths"])
    close(features, EXPECTED["features"], frames, 5e-5)
    encoded = model.encode_features(EXPECTED["features"], EXPECTED["lengths"])
    assert torch.equal(encoded.lengths, EXPECTED["encoded_lengths"])
    close(encoded.encoded, EXPECTED["encoded"], encoded.lengths, 1e-5)
    logits = model.decoder(EXPECTED["ids"], encoded.memory, encoded.mask).logits
    torch.testing.assert_close(logits, EXPECTED["logits"], rtol=0, atol=5e-5)


@torch.no_grad()
def test_greedy_tokens_are_those_of_transformers(imported):
    model, tokenizer, _ = imported
    prompt = FACTS["prompt"]
    step = TorchStep(model, model.encode_features(EXPECTED["features"], EXPECTED["lengths"]))
    scores, state = step.first(np.array([prompt] * 2))
    options = BeamOptions(eos=tokenizer.eos_id, size=1, length_penalty=0.0)
    found = beam_search(step, scores, state, options, np.array([20, 20]), [])
    for [best], ids in zip(found, EXPECTED["greedy"][:, len(prompt) :].tolist(), strict=True):
        assert best.tokens == ids[: ids.index(tokenizer.eos_id)] and len(set(best.tokens)) >= 3


def test_texts_are_encoded_as_by_the_sentencepiece_model_it_was_made_of(imported):
    tokenizer = imported[1]
    for text, (spe, transformers) in FACTS["texts"].items():
        assert tokenizer.encode(text) == spe
        # transformers puts a blank after every symbol, here the digits
        assert spe == transformers or any(c.isdigit() for c in text)
    assert tokenizer.decode(tokenizer.encode("guten abend 24")) == "guten abend 24"
    assert tokenizer.languages == ["en", "de"]


def test_the_prompt_begins_with_the_blank_that_transformers_leaves_out(imported):
    _, tokenizer, generation = imported
    ids = Prompt(punctuation=True).ids(tokenizer, generation.prompt_format)
    assert [tokenizer.pieces[ids[0]], *ids[1:]] == ["\u2581", *FACTS["prompt"]]


def test_channels_that_a_conversion_sorted_come_back():
    """As convert_canary_nemo_to_hf.py sorts them: the even ones, then the odd ones."""
    order = torch.tensor([0, 2, 4, 6, 1, 3, 5, 7])
    column, row, cross = torch.randn(5, 8), torch.randn(8), torch.randn(8, 8)
    weights = {
        "decoder.embed.weight": column[:, order],
        "decoder.layers.0.attn.out.bias": row[order],
        "decoder.layers.0.cross.k.weight": cross,  # it reads the encoder, and writes to heads
        "encoder.blocks.0.norm.weight": row,
    }
    canary_folder.interleave(weights, 8)
    assert torch.equal(weights["decoder.embed.weight"], column)
    assert torch.equal(weights["decoder.layers.0.attn.out.bias"], row)
    assert weights["decoder.layers.0.cross.k.weight"] is cross and weights["encoder.blocks.0.norm.weight"] is row


def test_weights_in_several_files_and_in_half_precision_are_the_same(folder, imported):
    weights = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    files = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(weights)}
    for file in set(files.values()):
        save_file({name: weights[name] for name in weights if files[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    model = canary_folder.read(folder)[0]
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), imported[0].parameters(), strict=True))
    for file in set(files.values()):
        halves = {name: x.bfloat16() if x.is_floating_point() else x for name, x in load_file(folder / file).items()}
        save_file(halves, folder / file)
    assert {x.dtype for x in canary_folder.read(folder)[0].parameters()} == {torch.float32}


def test_a_head_of_its_own_is_kept(folder):
    weights = load_file(folder / WEIGHTS)
    embed = weights["model.decoder.embed_tokens.weight"]
    save_file({**weights, "proj_out.weight": embed.clone()}, folder / WEIGHTS)
    assert canary_folder.read(folder)[0].config.decoder.tied
    save_file({**weights, "proj_out.weight": embed + 1}, folder / WEIGHTS)
    model = canary_folder.read(folder)[0]
    assert not model.config.decoder.tied
    torch.testing.assert_close(model.decoder.head.weight, model.decoder.embed.weight + 1)


@torch.no_grad()
def test_a_scaled_input_is_scaled(folder, imported):
    """scale_input multiplies what the subsampling gives by sqrt(8)."""
    change(folder, CONFIG, encoder_config={"scale_input": True})
    ours = canary_folder.read(folder)[0].encoder.subsampling(EXPECTED["features"], EXPECTED["lengths"])[0]
    plain = imported[0].encoder.subsampling(EXPECTED["features"], EXPECTED["lengths"])[0]
    torch.testing.assert_close(ours, plain * 8**0.5)


def test_a_model_folder_is_made_of_it(tmp_path, imported):
    assert "62 tokens, languages en, de" in convert("canary", FOLDER, tmp_path / "model")
    loaded = load_folder(tmp_path / "model")
    assert loaded.generation == imported[2] and loaded.tokenizer.fingerprint == imported[1].fingerprint
    assert all(torch.equal(a, b) for a, b in zip(loaded.model.parameters(), imported[0].parameters(), strict=True))
    assert not (tmp_path / "model" / "aligner").exists()


def change(folder: Path, name: str, **values) -> None:
    old = json.loads((folder / name).read_text())
    for key, value in values.items():
        old[key] = {**old[key], **value} if isinstance(value, dict) and isinstance(old.get(key), dict) else value
    (folder / name).write_text(json.dumps(old))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (CONFIG, {"model_type": "whisper"}, "config.json: model_type 'whisper' is not known here, only 'canary'"),
        (CONFIG, {"encoder_config": {"hidden_act": "relu"}}, "encoder_config.hidden_act 'relu' is not known"),
        (CONFIG, {"encoder_config": {"subsampling_factor": 4}}, "encoder_config.subsampling_factor 4 is not known"),
        (CONFIG, {"encoder_config": {"num_hidden_layers": "two"}}, "num_hidden_layers 'two' is not a whole number"),
        (CONFIG, {"encoder_config": {"num_hidden_layers": 2}}, r"Missing .*encoder.blocks.1.ff1.norm.weight"),
        (CONFIG, {"encoder_config": {"num_attention_heads": 3}}, "d_model 8 is not a multiple of n_heads 3"),
        (CONFIG, {"encoder_config": {"conv_kernel_size": 4}}, "conv_kernel 4 is even"),
        (CONFIG, {"encoder_config": {"scale_input": "yes"}}, "encoder_config.scale_input 'yes' is not known here"),
        (CONFIG, {"decoder_config": {"head_dim": 8}}, "decoder_config.head_dim 8 is not known here, only 4"),
        (CONFIG, {"decoder_config": {"attention_bias": False}}, "decoder_config.attention_bias False is not known"),
        (CONFIG, {"decoder_config": {"intermediate_size": 32}}, r"ff.inner.weight: .*\[16, 8\].*\[32, 8\]"),
        (CONFIG, {"tie_word_embeddings": False}, "Missing .*decoder.head.weight"),
        (CONFIG, {"vocab_size": 80}, "the head has 80 classes, the tokenizer 62"),
        ("processor_config.json", {"feature_extractor": {"preemphasis": None}}, "feature_extractor.preemphasis None"),
        ("processor_config.json", {"feature_extractor": {"n_fft": 1024}}, "n_fft 1024 is not known here, only 512"),
        ("processor_config.json", {"feature_extractor": {"feature_size": 24}}, r"subsampling.out.weight: .*\[8, 8\]"),
        (TOKENIZER, {"model": {"type": "Unigram"}}, "model.type 'Unigram' is not known here, only 'BPE'"),
        (TOKENIZER, {"model": {"unk_token": "<none>"}}, "model.unk_token '<none>' is no piece"),
        (TOKENIZER, {"model": {"merges": [["a"]]}}, r"model.merges \[\['a'\]\] is not a list of pairs"),
        (TOKENIZER, {"pre_tokenizer": {"type": "ByteLevel"}}, "pre_tokenizer .* is not SentencePiece's"),
        (TOKENIZER, {"pre_tokenizer": {"prepend_scheme": "first"}}, "pre_tokenizer .* is not SentencePiece's"),
        (TOKENIZER, {"normalizer": None}, "normalizer None is not SentencePiece's"),
        (TOKENIZER, {"added_tokens": [{"id": 70, "content": "<x>"}]}, "the added token '<x>' has no piece with its id"),
        (TOKENIZER, {"added_tokens": [{"id": 62, "content": "\ud800"}]}, r"the piece '\\ud800' has half a character"),
        (TOKENIZER, {"model": {"vocab": {"a": 1}}}, "model.vocab .* does not number its pieces from 0 on"),
    ],
)
def test_what_ours_cannot_do_is_named(folder, name, values, message):
    change(folder, name, **values)
    with pytest.raises(SpeechError, match=message) as error:
        canary_folder.read(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG, TOKENIZER, "processor_config.json"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "junk"])
def test_a_missing_or_cut_file_is_named(folder, name, damage):
    whole = (folder / name).read_bytes()
    if damage == "missing":
        (folder / name).unlink()
    else:
        (folder / name).write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "junk": b"\xff\0" * 99}[damage])
    with pytest.raises(SpeechError, match=name.replace(".", r"\.")) as error:
        canary_folder.read(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "a/b.safetensors"])
def test_an_index_names_no_file_elsewhere(folder, name):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": name}}))
    with pytest.raises(SpeechError, match="which is no file beside it"):
        canary_folder.read(folder)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": 3}}))
    with pytest.raises(SpeechError, match="has no weight_map of file names"):
        canary_folder.read(folder)


def test_weights_of_another_model_are_named(folder):
    save_file({**load_file(folder / WEIGHTS), "model.new.weight": torch.zeros(2)}, folder / WEIGHTS)
    with pytest.raises(SpeechError, match="1 weights of the checkpoint are not known: model.new.weight"):
        canary_folder.read(folder)
