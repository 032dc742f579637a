"""What all kinds of phonemizers have in common."""

from pathlib import Path

import pytest

from speech.errors import DataError, SpeechError
from speech.text.phonemes import load_phonemizer, load_phonemizers, read_words, save_phonemizers


def lexicon(language: str = "de", **settings):
    return load_phonemizer({"kind": "lexicon", "language": language, **settings})


@pytest.mark.parametrize(
    "text, tokens",
    [
        ("da, so", "d a ,| s o"),
        ("da ,so", "d a ,| s o"),
        ("da - so", "d a -| s o"),
        ("da—so", "d a -| s o"),
        ("da-so", "d a| s o"),
        ("so... ja?!", "s o .| j a ? !"),
        ("  so  ", "s o"),
        ("你。好！", "你 .| 好 !"),
        ("so [[ˈa b | c]] da", "s o| ˈa b| c| d a"),
        ("so[[x]]", "s o x"),
        ("[[x]] so[[y]][[z]]", "x| s o y z"),
    ],
)
def test_marks_and_blanks(text: str, tokens: str):
    assert lexicon()(text) == [t for part in tokens.replace("|", " | ").split() for t in [" " if part == "|" else part]]


@pytest.mark.parametrize("text", ["", " ", "...", "- , !", "[[ ]]"])
def test_a_text_without_words_is_an_error(text: str):
    with pytest.raises(SpeechError, match="no letter and no digit"):
        lexicon()(text)


@pytest.mark.parametrize("language", ["de", "en"])
def test_a_sign_without_a_sound_is_named(language: str):
    with pytest.raises(SpeechError, match=r"'5' \(U\+0035\) has no phoneme in the lexicon of"):
        lexicon(language)("so 5")
    with pytest.raises(SpeechError, match=r"'😀' \(U\+1F600\)"):
        lexicon(language)("so 😀")


def test_the_users_words_win_before_anything_else_reads_them():
    voice = lexicon("en", words={"MS03": "m ˈɛ s", "two": "t u", "US": "j u"})
    said = voice.spoken("MS03 Two 2 us US two's 5")
    assert said.text == "[[m ˈɛ s]] [[t u]] two us [[j u]] two's five"
    assert voice("Two twos")[:4] == ["t", "u", " ", "T"]
    assert voice("[[two]]") == ["two"]


def test_chinese_words_of_the_user_inside_a_run():
    assert lexicon("zh", words={"银行": "y in"})("我银行的") == ["我", "y", "in", "的"]


def test_given_phonemes_are_taken_as_they_are():
    voice = load_phonemizer({"kind": "phonemes", "language": "en"})
    assert voice.spoken("h ə 5 | 😀").text == "h ə 5 | 😀"
    assert voice("h ə l ˈoʊ | , ,") == ["h", "ə", "l", "ˈoʊ", " ", ",", ","]
    assert voice("c\u0327") == ["ç"]


@pytest.mark.parametrize("kind", ["lexicon", "phonemes", "pinyin"])
def test_a_folder_brings_it_back(kind: str, tmp_path: Path):
    voice = load_phonemizer({"kind": kind, "language": "zh", "words": {"Ä": "x y"}})
    save_phonemizers(tmp_path, [voice])
    (again,) = load_phonemizers(tmp_path)
    assert (type(again), again.settings()) == (type(voice), voice.settings())
    assert again.settings()["words"] == {"Ä": "x y"}


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"kind": "x"}, "kind 'x' is not one of lexicon, espeak, pinyin, phonemes"),
        ({"kind": ["lexicon"]}, "kind .* is not one of"),
        ({"language": "../x"}, "language '../x' is not a code"),
        ({"language": None}, "language 'None' is not a code"),
        ({"words": {"a": ""}}, "words are not a table"),
        ({"words": {"a": "b]] c"}}, "words are not a table"),
        ({"words": ["a"]}, "words are not a table"),
        ({"voice": "x"}, "'voice' is no setting of the kind lexicon"),
        ({"dictionary": "x"}, "dictionary 'x' is not 'cmudict'"),
        ({"dictionary": "cmudict"}, "dictionary 'cmudict' is not 'cmudict' for English"),
    ],
)
def test_settings_are_not_trusted(settings: dict, message: str):
    with pytest.raises(SpeechError, match=message) as caught:
        lexicon(**{"language": "de", **settings})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"[" * 100000])
def test_a_broken_file_is_one_line(content: bytes, tmp_path: Path):
    (tmp_path / "phonemizer.json").write_bytes(content)
    with pytest.raises(SpeechError, match="phonemizer.json: not"):
        load_phonemizers(tmp_path)
    with pytest.raises(SpeechError, match="phonemizer.json: cannot be read"):
        load_phonemizers(tmp_path / "none")


def test_read_words(tmp_path: Path):
    file = tmp_path / "words.tsv"
    file.write_text("\ufeffParlance\tp ˈɑː\r\n\nnew york\tn u | j\n", encoding="utf-8")
    words = read_words(file)
    assert words == {"Parlance": "p ˈɑː", "new york": "n u | j"}
    assert lexicon("en", words=words)("New York!") == ["n", "u", " ", "j", "!"]


@pytest.mark.parametrize(
    "lines, message",
    [
        ("a\tb\nword\n", "line 2: 'word' is not a word, a tab and its phonemes"),
        ("\tb\n", "line 1: '.*b' is not"),
        ("a\tb\tc\n", "line 1: .* is not"),
        ("a\t[b\n", "line 1: .* is not"),
        ("a\tb\na\tc\n", "line 2: 'a' stands there twice"),
    ],
)
def test_a_faulty_lexicon_names_line_and_value(lines: str, message: str, tmp_path: Path):
    file = tmp_path / "words.tsv"
    file.write_text(lines, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_words(file)
    with pytest.raises(DataError, match="cannot be read"):
        read_words(tmp_path / "none.tsv")
