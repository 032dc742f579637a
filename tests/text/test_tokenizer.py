import pytest

from speech.errors import DataError, SpeechError
from speech.text.tokenizer import Tokenizer

DIGITS = "zero one two three four five six seven eight nine".split()


@pytest.fixture
def digits(tmp_path):
    return Tokenizer.train(DIGITS, tmp_path / "digits.model", 64, byte_fallback=False)


def test_layout_and_one_piece_per_digit_word(digits):
    assert digits.pieces[:4] == ["<pad>", "<unk>", "<|endoftext|>", "<|startoftranscript|>"]
    assert (digits.pad_id, digits.blank_id, digits.unk_id, digits.eos_id, digits.bos_id) == (0, 0, 1, 2, 3)
    assert digits.size <= 64
    assert [len(digits.encode(word)) for word in DIGITS] == [1] * 10
    assert digits.decode([3, 9, *digits.encode("one two"), 2]) == "one two"


@pytest.mark.parametrize("kind", ["bpe", "char"])
def test_chinese_and_bytes_round_trip(tmp_path, kind):
    path = tmp_path / "zh.model"
    tokenizer = Tokenizer.train(["你好世界", "今天 hello"], path, 400, kind, languages=("zh", "en"))
    for text in ("你好", "今天 hello", "x☃ <|pnc|> <unk>"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
        assert tokenizer.unk_id not in tokenizer.encode(text)
    assert tokenizer.special("<|pnc|>") not in tokenizer.encode("<|pnc|>")
    assert Tokenizer.load(path).pieces == tokenizer.pieces


def test_training_is_silent_and_repeats(tmp_path, capfd):
    for name in "ab":
        Tokenizer.train(DIGITS, tmp_path / name, 64, byte_fallback=False)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert capfd.readouterr() == ("", "")


def test_characters_outside_are_named(digits):
    with pytest.raises(DataError, match=r"'q' \(U\+0071\)"):
        digits.encode("one q")
    with pytest.raises(DataError, match=r"U\+2581"):
        digits.encode("one\u2581two")


def test_small_vocabulary_names_the_limit(tmp_path):
    with pytest.raises(SpeechError, match="vocab_size 64 is below 2"):
        Tokenizer.train(DIGITS, tmp_path / "x", 64)


@pytest.mark.parametrize("data", [None, b"junk" * 9])
def test_broken_file_is_one_line(tmp_path, data):
    path = tmp_path / "t.model"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(SpeechError, match=r"^tokenizer .*t\.model: [^\n]+$"):
        Tokenizer.load(path)
