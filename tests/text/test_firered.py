import pytest

from speech.errors import SpeechError
from speech.text.firered import FireRedTokenizer


def tokens(tokenizer, text):
    return [tokenizer.pieces[i] for i in tokenizer.encode(text)]


def test_chinese_by_character_english_by_piece(firered):
    assert tokens(firered, "你好") == ["你", "好"]
    english = tokens(firered, "hello my friend")
    assert english == tokens(firered, "HELLO MY FRIEND") and "".join(english) == "\u2581HELLO\u2581MY\u2581FRIEND"
    mixed = tokens(firered, "请打开 hello my friend 今天!")
    assert mixed == ["请", "打", "开", *english, "今", "天"]
    assert firered.decode(firered.encode("请打开 hello my friend 今天!")) == "请打开 hello my friend今天"
    assert tokens(firered, "你hello好") == ["你", *tokens(firered, "hello"), "好"]


@pytest.mark.parametrize("mark", "，。？！,.?!")
def test_punctuation_parts_words(firered, mark):
    assert firered.encode(f"hello{mark}my friend{mark}") == firered.encode("hello my friend")
    assert firered.encode(f"你{mark}好") == firered.encode("你好")


def test_what_is_unknown_is_one_id(firered):
    assert firered.encode("龘") == [firered.unk_id]
    assert tokens(firered, "你龘好") == ["你", "<unk>", "好"]
    assert tokens(firered, "你ёё好") == ["你", "\u2581", "<unk>", "好"]  # a stretch that the model does not know
    assert firered.encode("\u3400\u4dbf\u4e00\u9fff") == [firered.unk_id] * 4  # each a character, extension A too
    assert firered.unk_id not in firered.encode("你 hello")


def test_no_text_gives_a_special_symbol(english_model):
    lines = ["<blank>", "<unk>", "<pad>", "<sos>", "<eos>", "\u2581", "<SIL>", "<123>"]
    tokenizer = FireRedTokenizer("\n".join(lines), english_model)
    for text in ("<SIL>", "你<SIL>", "<123>", "<pad>", "<sos> <eos>"):
        assert set(tokenizer.encode(text)) <= {tokenizer.unk_id, lines.index("\u2581")}


def test_version_1_keeps_capitals(firered, dictionary, english_model):
    first = FireRedTokenizer(dictionary.encode(), english_model)
    ids = first.encode("你 hello my friend")
    assert ids == firered.encode("你 hello my friend")
    assert first.decode(ids) == "你 HELLO MY FRIEND" and firered.decode(ids) == "你 hello my friend"


def test_ids_of_symbols_are_those_of_the_dictionary(english_model):
    lines = ["A", "<eos>", "<sos>", "B", "<pad>", "<blank>", "<unk>"]
    tokenizer = FireRedTokenizer("\n".join(lines), english_model)
    ids = (tokenizer.eos_id, tokenizer.bos_id, tokenizer.pad_id, tokenizer.blank_id, tokenizer.unk_id)
    assert ids == (1, 2, 4, 5, 6)
    assert tokenizer.special_ids == [1, 2, 4, 5, 6] and tokenizer.decode(range(7)) == "AB"


def test_a_blank_of_the_dictionary(english_model, tmp_path):
    lines = ["<blank>", "<unk>", "<pad>", "<sos>", "<eos>", "A", "<space>", "B"]
    tokenizer = FireRedTokenizer("\n".join(lines), english_model)
    assert tokenizer.decode([5, 6, 7]) == "A B" and 6 not in tokenizer.special_ids
    tokenizer.save_tokens(tmp_path / "tokens.txt")
    assert (tmp_path / "tokens.txt").read_text().split("\n")[5:8] == ["A 5", "<space> 6", "B 7"]


@pytest.mark.parametrize("name", ["<blank>", "<unk>", "<pad>", "<sos>", "<eos>"])
def test_a_missing_symbol_is_named(english_model, name):
    lines = [line for line in ("<blank>", "<unk>", "<pad>", "<sos>", "<eos>", "a") if line != name]
    with pytest.raises(SpeechError, match=f"^dict.txt: no special symbol '{name}'"):
        FireRedTokenizer("\n".join(lines), english_model)


def test_a_faulty_line_of_the_dictionary_is_named(english_model):
    with pytest.raises(SpeechError, match=r"^dict.txt: line 2: id '2' where 1 is due"):
        FireRedTokenizer("a 0\nb 2\n", english_model)
