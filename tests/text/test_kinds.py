"""What holds for every kind of tokenizer: ids and text, its place in a folder, faults in one line."""

import hashlib
import json
import random

import pytest

from speech.errors import DataError, SpeechError
from speech.text.base import BaseTokenizer
from speech.text.canary import AggregateTokenizer, UnifiedTokenizer
from speech.text.firered import FireRedTokenizer
from speech.text.load import load_tokenizer
from speech.text.tokenizer import Tokenizer

TEXTS = ["hello my friend", "good evening to all", "the weather is nice today"]


@pytest.fixture
def folder(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "model")
    return tmp_path / "model"


def test_text_comes_back(tokenizer):
    for text in TEXTS:
        ids = tokenizer.encode(text, "en")
        assert tokenizer.decode(ids) == text
        assert not set(ids) & set(tokenizer.special_ids)
    assert tokenizer.encode("", "en") == [] and tokenizer.decode([]) == ""


def test_special_symbols_are_no_text(tokenizer):
    ids = tokenizer.encode("good evening", "en")
    ends = [tokenizer.bos_id, tokenizer.pad_id, *ids, tokenizer.unk_id, tokenizer.eos_id]
    assert tokenizer.decode(ends) == "good evening"
    assert tokenizer.decode(tokenizer.special_ids) == ""
    assert {tokenizer.pad_id, tokenizer.unk_id, tokenizer.bos_id, tokenizer.eos_id} <= set(tokenizer.special_ids)
    assert len({tokenizer.pad_id, tokenizer.unk_id, tokenizer.bos_id, tokenizer.eos_id}) == 4
    with pytest.raises(SpeechError, match="no special symbol '<|x|>' in the tokenizer, it has .*<pad>"):
        tokenizer.special("<|x|>")


def test_ids_of_a_padded_vocabulary_are_named(tokenizer):
    for wrong in (tokenizer.size, tokenizer.size + 5, -1):
        with pytest.raises(SpeechError, match=f"^token {wrong} is outside the {tokenizer.size} of the tokenizer"):
            tokenizer.decode([*tokenizer.encode("hello", "en"), wrong])
    assert tokenizer.decode(range(tokenizer.size)) != ""


def test_random_text_and_ids_never_crash(tokenizer):
    rng = random.Random(0)
    alphabet = "aeht ,.你好龘é\u0301ß\u2581\u3000\u00ad\n\t\0<|>0/😀İ\ufffd"
    refused = 0
    for _ in range(3000):
        text = "".join(rng.choices(alphabet, k=rng.randrange(12)))
        try:
            ids = tokenizer.encode(text, "en")
        except DataError as error:
            assert "\n" not in str(error).replace("'\n'", "")
            refused += 1
            continue
        assert all(0 <= i < tokenizer.size for i in ids)
        assert not (set(ids) & set(tokenizer.special_ids)) - {tokenizer.unk_id}
        tokenizer.decode(ids)
        tokenizer.decode(rng.choices(range(tokenizer.size), k=9))
    assert (refused == 0) == (tokenizer.kind == "firered")  # it alone has an id for what it does not know


def test_half_a_character_is_named(tokenizer):
    with pytest.raises(DataError, match=r"half a character, U\+D83D"):
        tokenizer.encode("hello \ud83d", "en")


def test_what_was_saved_is_loaded(tokenizer, folder):
    assert json.loads((folder / "tokenizer.json").read_text())["kind"] == tokenizer.kind
    for path in (folder, folder / "tokenizer.json", str(folder)):
        again = load_tokenizer(path)
        assert type(again) is type(tokenizer)
        for name in ("pieces", "languages", "special_ids", "prompt_lead", "fingerprint", "size", "blank_id"):
            assert getattr(again, name) == getattr(tokenizer, name), name
        for name in ("pad_id", "unk_id", "eos_id", "bos_id"):
            i = getattr(again, name)
            assert i == getattr(tokenizer, name) == again.special(tokenizer.pieces[i])
        assert [again.encode(text, "en") for text in TEXTS] == [tokenizer.encode(text, "en") for text in TEXTS]
        assert again.decode(range(again.size)) == tokenizer.decode(range(again.size))
    lines = (folder / "tokens.txt").read_text(encoding="utf-8").split("\n")
    assert [line.rsplit(" ", 1) for line in lines[:-1]] == [[p, str(i)] for i, p in enumerate(tokenizer.pieces)]


def test_another_tokenizer_has_another_fingerprint(own, firered, aggregate, unified, models, english_model):
    dictionary, model = firered.files()["dict.txt"], unified.files()["tokenizer.model"]
    kinds: list[BaseTokenizer] = [own, firered, aggregate, unified]
    kinds += [FireRedTokenizer(dictionary.replace(b"<sil>", b"<sal>"), english_model, lowercase=True)]
    kinds += [FireRedTokenizer(dictionary, english_model, lowercase=False)]
    kinds += [AggregateTokenizer({name: models[name] for name in ("spl_tokens", "de", "en")})]
    kinds += [AggregateTokenizer(models | {"de": models["en"]}), UnifiedTokenizer(model, ["de"])]
    assert len({tokenizer.fingerprint for tokenizer in kinds}) == len(kinds)
    assert own.fingerprint == hashlib.sha256(own.model).hexdigest()  # as files that name it were made


def test_a_folder_without_a_kind_has_ours(own, tmp_path):
    own.save(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    assert load_tokenizer(tmp_path).pieces == load_tokenizer(tmp_path / "tokenizer.model").pieces == own.pieces


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "junk", "huge"])
def test_a_faulty_file_is_named(tokenizer, folder, damage):
    names = set(tokenizer.files())
    for name in names:
        if (damage, name) == ("cut", "dict.txt"):  # a shorter dictionary: seen by the width of the model only
            continue
        path = folder / name
        whole = path.read_bytes()
        if damage == "missing":
            path.unlink()
        else:
            huge = b"\n" + bytes(17 * 2**20) if damage == "huge" else b""
            path.write_bytes({"empty": b"", "cut": whole[:-9], "junk": b"\xff" * 200, "huge": huge}[damage])
        with pytest.raises(SpeechError, match="^tokenizer ") as caught:
            load_tokenizer(folder)
        told = str(caught.value)
        assert damage != "huge" or told.endswith("has more than 16777216 bytes, too many for a tokenizer")
        assert str(folder) in told and "\n" not in told and len(told) < 400
        assert name in told or f"'{name.split('.')[1]}'" in told  # the file, or the sub-tokenizer of it
        path.write_bytes(whole)
    load_tokenizer(folder)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "tokenizer.json: not JSON"),
        ("[" * 100000, "tokenizer.json: not JSON"),
        ("[1]", "tokenizer.json: not a JSON object"),
        ("{}", "kind 'None' is not one of sentencepiece, firered, aggregate, unified"),
        ('{"kind": ["x"]}', "is not one of sentencepiece"),
        ('{"kind": "unified", "languages": "en"}', "languages 'en' is not a list of names"),
        ('{"kind": "firered", "lowercase": 1}', "lowercase 1 is not true or false"),
        ('{"kind": "aggregate"}', "models 'None' is not a list of names"),
        ('{"kind": "aggregate", "models": ["spl_tokens", "../../en"]}', "is not a list of names"),
        ('{"kind": "aggregate", "models": ["en"]}', "tokenizer.en.model: cannot be read"),
    ],
)
def test_faulty_settings_are_named(tmp_path, text, message):
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(SpeechError) as caught:
        load_tokenizer(tmp_path)
    assert message in str(caught.value) and str(caught.value).startswith(f"tokenizer {tmp_path}: ")
    assert "\n" not in str(caught.value)


def test_settings_that_mean_nothing_are_refused(unified, tmp_path):
    unified.save(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"kind": "unified", "lowercase": true}')
    with pytest.raises(SpeechError, match="'lowercase' is no setting of the kind unified"):
        load_tokenizer(tmp_path)


def test_a_model_cut_anywhere_is_refused_or_whole(own):
    """A cut at the end of a piece leaves a model that SentencePiece loads; what follows the rules does not matter."""
    loaded = []
    for length in range(len(own.model)):
        try:
            again = Tokenizer(own.model[:length])
        except SpeechError:
            continue
        loaded.append(length)
        assert again.pieces == own.pieces and again.encode(TEXTS[0]) == own.encode(TEXTS[0])
    assert all(length > len(own.model) - 20 for length in loaded)


def test_an_unknown_model_is_refused_as_ours(english_model, tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(english_model)
    with pytest.raises(SpeechError, match="tokenizer begins with .* it was not trained here"):
        load_tokenizer(tmp_path)
