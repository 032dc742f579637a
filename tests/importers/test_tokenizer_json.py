"""A SentencePiece model comes back whole from the tokenizer.json that transformers makes of it."""

import base64
import json

import pytest
import sentencepiece
from spe_models import train

from speech.errors import SpeechError
from speech.importers.settings import Settings
from speech.importers.tokenizer_json import BLANKS, JOIN, STRIP, sentencepiece_model
from speech.text.spe import open_spe

TEXTS = ["hello my friend how are you", "good evening to all", "guten abend mein freund", "die tür ist zu wie früher"]
SYMBOLS = ["<|en|>", "<|de|>", "<pad>", *"0123456789"]
PROBES = [
    *TEXTS,
    "hello evening friend",
    "ﬁne  ｆｒｉｅｎｄ ",
    "24 hellos 7",
    "<|en|>good<|de|> tür",
    "q漢字漢q",
    "",
    "h",
]


def trained(**options) -> bytes:
    return train(TEXTS, options.pop("vocab_size", 90), user_defined_symbols=SYMBOLS, **options)


def charsmap(model: bytes) -> bytes:
    """Field 2 of field 3, read by hand; no length before them has more than three bytes."""

    def varint(data: bytes, at: int) -> tuple[int, int]:
        value = shift = 0
        while data[at] & 128:
            value, shift, at = value | (data[at] & 127) << shift, shift + 7, at + 1
        return value | data[at] << shift, at + 1

    def field(data: bytes, wanted: int) -> bytes:
        at, found = 0, b""
        while at < len(data):
            tag, at = varint(data, at)
            length, at = varint(data, at)
            if tag & 7 == 2:
                found = data[at : at + length] if tag >> 3 == wanted else found
                at += length
        return found

    return field(field(model, 3), 2)


def as_json(model: bytes) -> dict:
    """As `CanaryConverter` of transformers 5.24: merges are all pairs of pieces, the highest score first."""
    sp = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = {sp.id_to_piece(i): i for i in range(sp.get_piece_size())}
    merges = []
    for piece, i in pieces.items():
        pairs = [(piece[:k], piece[k:]) for k in range(1, len(piece))]
        merges += [(-sp.get_score(i), *pair) for pair in pairs if set(pair) <= set(pieces)]
    added = [name for name in pieces if name in SYMBOLS or sp.is_control(pieces[name])]
    special = {name: name.startswith("<|") or sp.is_control(pieces[name]) for name in added}
    first = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap(model)).decode()}
    return {
        "added_tokens": [{"id": pieces[name], "content": name, "special": special[name]} for name in added],
        "normalizer": {"type": "Sequence", "normalizers": [*([first] if charsmap(model) else []), STRIP, JOIN]},
        "pre_tokenizer": BLANKS,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": pieces,
            "merges": [list(pair) for _, *pair in sorted(merges, key=lambda m: m[0])],
        },
    }


def remade(values: dict) -> sentencepiece.SentencePieceProcessor:
    return open_spe(sentencepiece_model(Settings(json.loads(json.dumps(values)), "x")), "x")


@pytest.mark.parametrize(
    "options",
    [
        {"vocab_size": 90},
        {"vocab_size": 350, "byte_fallback": True},
        {"vocab_size": 90, "normalization_rule_name": "identity"},
    ],
    ids=["usual", "bytes", "identity"],
)
def test_the_model_comes_back(options):
    model = trained(**options)
    first = sentencepiece.SentencePieceProcessor(model_proto=model)
    again = remade(as_json(model))
    ids = range(first.get_piece_size())
    assert again.get_piece_size() == len(ids)
    for look in ("id_to_piece", "is_control", "is_unknown", "is_byte"):
        assert [getattr(first, look)(i) for i in ids] == [getattr(again, look)(i) for i in ids], look
    for text in PROBES:
        assert again.encode(text) == first.encode(text), text
        assert again.decode(first.encode(text)) == first.decode(first.encode(text))
    joined = [len(piece) > 1 for piece in first.encode("hello evening", out_type=str)]
    assert sum(joined) > 1, "merges were learned"


def test_the_order_of_merges_counts():
    values = as_json(trained())
    values["model"]["merges"].reverse()
    first = sentencepiece.SentencePieceProcessor(model_proto=trained())
    again = remade(values)
    assert any(first.encode(text) != again.encode(text) for text in PROBES)


def test_a_token_added_later_is_the_last_piece():
    values = as_json(trained())
    size = len(values["model"]["vocab"])
    values["added_tokens"].append({"id": size, "content": "<|new|>", "special": True})
    again = remade(values)
    assert again.piece_to_id("<|new|>") == size and again.encode("<|new|>")[-1] == size


@pytest.mark.parametrize("charsmap", ["no base64!", 3, ["x"]])
def test_a_broken_charsmap_is_named(charsmap):
    values = as_json(trained())
    values["normalizer"]["normalizers"][0]["precompiled_charsmap"] = charsmap
    with pytest.raises(SpeechError, match="^x: normalizer .* has no charsmap in base64$"):
        remade(values)
