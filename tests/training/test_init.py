"""Training that starts from a model folder: what is kept, what is new, what is refused."""

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_run import Seen, last_weights, make_recipe, seen_in

from recipes.train_aed import train
from speech.errors import SpeechError
from speech.folder import load_folder, save_model
from speech.generation import GenerationConfig
from speech.models.aed import AED
from speech.text.firered import FireRedTokenizer
from speech.text.load import load_tokenizer
from speech.text.tokenizer import Tokenizer
from speech.training.aed_task import AEDTask
from speech.training.config import AEDRecipe
from speech.training.init import copy_rows, ctc_rows, kept_rows, start_model
from speech.training.settings import check_init, parse_recipe

GENERATION = GenerationConfig(
    beam_size=3, pad_seconds=0.2, temperature=1.5, ended_stay=True, min_seconds=0.3, language="en"
)


@pytest.fixture(scope="module")
def folder(corpus, tmp_path_factory) -> Path:
    """A model folder of random weights with batch norms, feature statistics and a padded vocabulary."""
    return make_folder(corpus, tmp_path_factory.mktemp("init"))


def make_folder(corpus: Path, out: Path, seed: int = 7, **model) -> Path:
    recipe = batch_normed(make_recipe(corpus, out))
    torch.manual_seed(seed)
    tokenizer = load_tokenizer(recipe.data.tokenizer)
    made = AED(replace(recipe.model, **model), tokenizer.size)
    for name, buffer in made.named_buffers():
        if name.split(".")[-1] in ("mean", "inv_std", "running_mean", "running_var"):
            buffer.uniform_(0.5, 1.5)
    save_model(out / "model", made, tokenizer, GENERATION)
    return out / "model"


def batch_normed(recipe: AEDRecipe) -> AEDRecipe:
    recipe.model.encoder.conv_norm = "batch"
    recipe.model.decoder.vocab_pad = 16
    return recipe


def from_folder(corpus: Path, folder: Path, out: Path, tokenizer: Path | None = None, **train) -> AEDRecipe:
    recipe = batch_normed(make_recipe(corpus, out, **train))
    recipe.init, recipe.data.tokenizer = str(folder), str(tokenizer or folder)
    return recipe


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    """A tokenizer with some pieces of the corpus' own and some new ones."""
    path = tmp_path_factory.mktemp("other") / "tokenizer.model"
    Tokenizer.train(["do re mi", "fa so la"], path, 64, "char", byte_fallback=False, languages=("en", "zh"))
    return path


def read(folder: Path, *argv: str) -> AEDRecipe:
    return parse_recipe(AEDRecipe, ["--init", str(folder), *argv], "speech train", "")


def test_what_is_not_given_comes_from_the_folder(folder, tmp_path):
    (tmp_path / "c.yaml").write_text("optim: {lr: 2e-4}\nmodel: {encoder: {d_model: 16, dropout: 0.3}}\n")
    recipe = read(folder, "--config", str(tmp_path / "c.yaml"), "--generation.beam_size", "5")
    loaded = load_folder(folder)
    loaded.model.config.encoder.dropout = 0.3
    assert recipe.model == loaded.model.config
    assert (recipe.data.tokenizer, recipe.data.prompt_format) == (str(folder), "canary")
    assert (recipe.generation.beam_size, recipe.generation.pad_seconds, recipe.optim.lr) == (5, 0.2, 2e-4)
    check_init(recipe, loaded.tokenizer)
    assert read(folder, "--data.tokenizer", "mine.model", "--data.language", "zh").data.tokenizer == "mine.model"


def test_a_size_that_contradicts_the_folder_is_refused(folder, other):
    recipe = read(folder, "--model.encoder.d_ff", "48")
    with pytest.raises(SpeechError) as caught:
        check_init(recipe, load_tokenizer(folder))
    told = f"model.encoder.d_ff is 32 in the folder {folder} and 48 here: leave model.encoder.d_ff out"
    assert str(caught.value).startswith(told) and "\n" not in str(caught.value)
    recipe = read(folder, "--data.prompt_format", "firered")
    with pytest.raises(SpeechError, match="data.prompt_format is canary in the folder .* and firered here"):
        check_init(recipe, load_tokenizer(folder))
    check_init(recipe, load_tokenizer(other))


@pytest.mark.parametrize("file", ["config.json", "generation_config.json", "preprocessor_config.json"])
def test_a_folder_that_cannot_be_read_is_named(folder, tmp_path, file):
    with pytest.raises(SpeechError, match="does not exist"):
        read(tmp_path / "nowhere")
    copy = shutil.copytree(folder, tmp_path / "copy")
    for text, why in (("{", "not JSON"), ("[]", "not a JSON object"), (None, "No such file")):
        (copy / file).write_text(text) if text else (copy / file).unlink()
        with pytest.raises(SpeechError, match=rf"{file}: .*{why}"):
            read(copy)
    (copy / file).write_text('{"model_type": "aed", "colour": 1}')
    with pytest.raises(SpeechError, match="colour|model_type"):
        read(copy)


def test_with_its_tokenizer_every_weight_is_kept(corpus, folder, tmp_path, caplog):
    recipe = from_folder(corpus, folder, tmp_path)
    with caplog.at_level(logging.INFO):
        model = start_model(recipe, load_tokenizer(folder))
    theirs = load_file(folder / "model.safetensors")
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in model.state_dict().items())
    assert len(theirs) == len(model.state_dict()) and "rows of 0 tokens new" in caplog.text


@pytest.mark.parametrize("tied", [True, False])
def test_rows_of_pieces_that_both_have_are_kept(corpus, tmp_path, other, caplog, tied):
    recipe = batch_normed(make_recipe(corpus, tmp_path))
    recipe.model.decoder.tied = tied
    folder = make_folder(corpus, tmp_path, decoder=recipe.model.decoder)
    recipe.init = str(folder)
    new, old = load_tokenizer(other), load_tokenizer(folder)
    with caplog.at_level(logging.INFO):
        model = start_model(recipe, new)
    ours, theirs = model.state_dict(), load_file(folder / "model.safetensors")
    by_token = ["decoder.embed.weight", "decoder.head_bias", "ctc.weight", "ctc.bias"]
    by_token += [] if tied else ["decoder.head.weight"]
    shared = [piece for piece in new.pieces if piece in old.pieces]
    assert len(shared) == len(kept_rows(new, old)) and {"<pad>", "<|en|>", "▁", "o"} <= set(shared)
    assert set(new.pieces) - set(shared) == {"<|zh|>", "l"} | (set(new.pieces) - set(old.pieces))
    for name in by_token:
        for piece in shared:
            assert torch.equal(ours[name][new.pieces.index(piece)], theirs[name][old.pieces.index(piece)]), (
                name,
                piece,
            )
    for name, tensor in ours.items():
        assert name in by_token or torch.equal(tensor, theirs[name]), name
    a, b = (ours["decoder.embed.weight"][new.pieces.index(piece)] for piece in ("<|zh|>", "l"))
    assert not torch.equal(a, b)
    assert ours["decoder.embed.weight"].size(0) == 16 * -(-new.size // 16)
    assert f"rows of {len(shared)} tokens kept: <pad> <unk>" in caplog.text
    assert f"rows of {new.size - len(shared)} tokens new: <|zh|>" in caplog.text


def test_new_rows_are_like_the_old_ones():
    torch.manual_seed(0)
    old = torch.randn(500, 3) * torch.tensor([1.0, 0.1, 3.0]) + torch.tensor([5.0, 0.0, -1.0])
    old[:2] = 100.0  # no text
    new, bias = torch.zeros(4000, 3), torch.zeros(4000)
    copy_rows(new, old, {7: 3, 9: 0}, list(range(2, 500)))
    assert torch.equal(new[7], old[3]) and torch.equal(new[9], old[0])
    drawn = new[10:]
    torch.testing.assert_close(drawn.mean(0), old[2:].mean(0), rtol=0, atol=0.2)
    torch.testing.assert_close(drawn.std(0), old[2:].std(0), rtol=0.1, atol=0)
    copy_rows(bias, old[:, 0], {7: 3}, list(range(2, 500)))
    assert bias[7] == old[3, 0]
    torch.testing.assert_close(bias[8:], old[2:, 0].mean().expand(3992))


def test_symbols_and_the_blank_are_found_by_their_role(other):
    """FireRedASR has a blank of its own and other names for start and end; a text piece is no special symbol."""
    new = load_tokenizer(other)
    dictionary = "<blank> 0\n<unk> 1\n<pad> 2\n<sos> 3\n<eos> 4\n▁ 5\no 6\n<|en|> 7\n"
    old = FireRedTokenizer(dictionary, Path(other).read_bytes())
    rows = kept_rows(new, old)
    assert [rows[i] for i in (new.pad_id, new.unk_id, new.eos_id, new.bos_id)] == [2, 1, 4, 3]
    assert rows[new.pieces.index("▁")] == 5 and new.special("<|en|>") not in rows
    assert new.pad_id == new.blank_id and ctc_rows(rows, new, old)[new.blank_id] == 0
    back = kept_rows(old, new)
    assert back[2] == back.get(0, new.pad_id) == new.pad_id
    kept = ctc_rows(back, old, new)
    assert kept[0] == new.pad_id and 2 not in kept  # the row of the blank goes to the blank only


def test_a_ctc_head_is_made_or_left_out(corpus, tmp_path, caplog):
    folder = make_folder(corpus, tmp_path, ctc=False)
    assert read(folder).model.ctc is False
    recipe = from_folder(corpus, folder, tmp_path)
    check_init(recipe, load_tokenizer(folder))
    with caplog.at_level(logging.INFO):
        assert start_model(recipe, load_tokenizer(folder)).ctc is not None
    assert "no CTC head there, a new one" in caplog.text
    recipe = from_folder(corpus, make_folder(corpus, tmp_path / "with"), tmp_path)
    recipe.model.ctc = False
    with caplog.at_level(logging.INFO):
        assert start_model(recipe, load_tokenizer(recipe.init)).ctc is None
    assert "its CTC head left out" in caplog.text


def test_a_run_keeps_what_is_frozen_and_the_search_of_the_folder(corpus, folder, other, tmp_path, monkeypatch):
    moving = shutil.copytree(folder, tmp_path / "moving")
    Seen().watch(monkeypatch, 2, lambda: shutil.rmtree(moving))  # it is needed at the start only
    recipe = from_folder(corpus, moving, tmp_path, other, max_steps=4, keep=2)
    recipe.optim.freeze = ["encoder"]
    recipe.generation.beam_size = 1
    result = load_folder(train(recipe))
    theirs, ours = load_file(folder / "model.safetensors"), result.model.state_dict()
    still = [name for name in theirs if name.startswith(("encoder.", "frontend."))]
    assert len(still) > 30 and all(torch.equal(ours[name], theirs[name]) for name in still)  # batch norms too
    assert not torch.equal(ours["decoder.layers.0.ff.inner.weight"], theirs["decoder.layers.0.ff.inner.weight"])
    assert result.tokenizer.size == load_tokenizer(other).size
    kept = replace(GENERATION, beam_size=1, pad_seconds=0.0)  # the recipe was made without reading the folder
    assert result.generation == kept


def test_a_run_from_a_folder_resumes_to_the_bit_and_knows_its_start(corpus, folder, other, tmp_path):
    def recipe(out: str, start: Path = folder) -> AEDRecipe:
        made = from_folder(corpus, start, tmp_path / out, other, max_steps=6, valid_every_steps=3)
        made.optim.freeze, made.optim.layer_decay = ["encoder.subsampling", "decoder.embed"], 0.5
        return made

    batches = seen_in(train, recipe("whole"), AEDTask)
    assert seen_in(train, recipe("cut"), AEDTask, 5)[:4] + seen_in(train, recipe("cut"), AEDTask) == batches
    assert last_weights(tmp_path / "cut") == last_weights(tmp_path / "whole")
    run = json.loads((tmp_path / "cut/checkpoints/step-00000006/run.json").read_text())
    assert len(run["the initial weights"]) == 64 and run["optim.freeze"] and "init" not in run
    another = make_folder(corpus, tmp_path / "another", seed=8)
    with pytest.raises(SpeechError, match="is of another run: the initial weights changed. Give another --train.out"):
        train(recipe("cut", another))
