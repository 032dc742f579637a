import re

import pytest
import sentencepiece

from speech.errors import DataError, SpeechError
from speech.text.canary import AggregateTokenizer, UnifiedTokenizer


def pieces(tokenizer, ids):
    return [tokenizer.pieces[i] for i in ids]


def test_ids_follow_each_other_by_language(aggregate, models):
    sps = {name: sentencepiece.SentencePieceProcessor(model_proto=model) for name, model in models.items()}
    first = 0
    for name, sp in sps.items():
        assert aggregate.offsets[name] == first
        first += sp.get_piece_size()
    assert aggregate.size == first
    for language, text in (("en", "good evening"), ("de", "guten abend")):
        assert aggregate.encode(text, language) == [aggregate.offsets[language] + i for i in sps[language].encode(text)]
    assert aggregate.special("<pad>") == sps["spl_tokens"].piece_to_id("<pad>")


def test_a_text_of_two_languages_is_decoded_by_range(aggregate):
    ids = aggregate.encode("good evening", "en") + aggregate.encode("guten abend", "de")
    assert aggregate.decode(ids) == "good evening guten abend"
    assert aggregate.decode([aggregate.special("<|de|>"), *ids, aggregate.eos_id]) == "good evening guten abend"


def test_unknown_pieces_of_every_language_are_no_text(aggregate):
    unknown = [aggregate.offsets[name] for name in ("spl_tokens", "en", "de")]
    assert pieces(aggregate, unknown) == ["<unk>"] * 3
    assert set(unknown) <= set(aggregate.special_ids) and aggregate.decode(unknown) == ""
    assert set(range(aggregate.offsets["en"])) <= set(aggregate.special_ids)  # the dummy blank is none either


def test_symbols_are_listed_in_part(aggregate):
    with pytest.raises(SpeechError, match=r"it has <unk> <\|nospeech\|> <pad> .* <\|16\|> and 3 more$"):
        aggregate.special("\u2581")


def test_the_language_is_needed_and_checked(aggregate, models):
    with pytest.raises(SpeechError, match="^a text needs its language, one of en, de$"):
        aggregate.encode("hello")
    with pytest.raises(SpeechError, match="^language 'fr' is not one of en, de$"):
        aggregate.encode("hello", "fr")
    with pytest.raises(SpeechError, match="^language 'spl_tokens' is not one of en, de$"):
        aggregate.encode("<pad>", "spl_tokens")
    single = AggregateTokenizer({name: models[name] for name in ("spl_tokens", "en")})
    assert single.encode("hello") == single.encode("hello", "en") == aggregate.encode("hello", "en")


def test_two_letters_mean_a_region_where_they_are_absent(models, aggregate):
    regional = AggregateTokenizer({"spl_tokens": models["spl_tokens"], "en-US": models["en"], "de": models["de"]})
    assert regional.encode("hello", "en") == regional.encode("hello", "en-US") == aggregate.encode("hello", "en")
    assert regional.languages == ["en", "de"]  # <|en-US|> is no symbol
    both = AggregateTokenizer({**models, "en-US": models["de"]})
    assert both.encode("hello", "en") == aggregate.encode("hello", "en")  # where it is there, it means itself


@pytest.mark.parametrize("kind", ["aggregate", "unified"])
def test_characters_outside_are_named(request, kind):
    tokenizer = request.getfixturevalue(kind)
    with pytest.raises(DataError, match=r"'你' \(U\+4F60\) 'q' \(U\+0071\); normalise"):
        tokenizer.encode("你 hello q 你", "en")


def test_a_character_of_another_language_is_outside(aggregate):
    assert aggregate.decode(aggregate.encode("tür", "de")) == "tür"
    with pytest.raises(DataError, match=r"outside the vocabulary of 'en': 'ü' \(U\+00FC\); normalise"):
        aggregate.encode("tür", "en")


@pytest.mark.parametrize("kind", ["aggregate", "unified"])
def test_marks_of_time_stand_around_words(request, kind):
    tokenizer = request.getfixturevalue(kind)
    timed = tokenizer.encode("<|0|>hello<|4|> <|5|>my<|9|>", "en")
    words = [tokenizer.encode(word, "en") for word in ("hello", "my")]
    at = [tokenizer.special(f"<|{i}|>") for i in (0, 4, 5, 9)]
    assert timed == [at[0], *words[0], at[1], at[2], *words[1], at[3]]
    assert tokenizer.decode(timed) == "hello my"
    with pytest.raises(DataError, match=r"no mark of time <\|77\|>"):
        tokenizer.encode("hello<|77|>", "en")


def test_a_text_with_time_is_encoded_word_by_word(make_spe, spl_model):
    model = make_spe(["hello my friend"] * 9, 40, split_by_whitespace=False)
    tokenizer = AggregateTokenizer({"spl_tokens": spl_model, "en": model})
    words = [i for word in ("hello", "my") for i in tokenizer.encode(word)]
    assert tokenizer.encode("hello my") != words  # it has pieces of two words
    assert tokenizer.encode("<|0|> hello my <|4|>") == [tokenizer.special("<|0|>"), *words, tokenizer.special("<|4|>")]


def test_characters_spelt_in_bytes_come_back(make_spe):
    symbols = ["<pad>", "<|endoftext|>", "<|startoftranscript|>"]
    tokenizer = UnifiedTokenizer(make_spe(["hello my friend"], 300, symbols, byte_fallback=True))
    assert tokenizer.decode(tokenizer.encode("hello 你 my")) == "hello 你 my"


@pytest.mark.parametrize("kind", ["aggregate", "unified"])
@pytest.mark.parametrize("symbol", ["<|en|>", "<|endoftext|>", "<pad>", "<|emo:sad|>"])
def test_no_text_gives_another_symbol(request, kind, symbol):
    tokenizer = request.getfixturevalue(kind)
    named = f"holds '{re.escape(symbol)}', a special symbol" if kind == "unified" else "outside the vocabulary"
    with pytest.raises(DataError, match=named):
        tokenizer.encode(f"hello {symbol} my", "en")
    with pytest.raises(DataError, match=named):
        tokenizer.encode_context(f"hello {symbol} my", "en")


def test_the_unified_context_follows_its_symbol(unified):
    """NeMo encodes such a prompt in one piece, so its first word has no blank, and a blank opens it."""
    sp = sentencepiece.SentencePieceProcessor(model_proto=unified.files()["tokenizer.model"])
    whole = sp.encode("<|startofcontext|>guten abend<|startoftranscript|>")
    opening, end = [*unified.prompt_lead, unified.special("<|startofcontext|>")], [unified.bos_id]
    assert [*opening, *unified.encode_context("guten abend", "de"), *end] == whole
    assert pieces(unified, unified.prompt_lead) == ["\u2581"]
    assert unified.encode_context("", "de") == []


def test_languages(aggregate, unified, models):
    assert aggregate.languages == unified.languages == ["en", "de"]
    model = unified.files()["tokenizer.model"]
    assert UnifiedTokenizer(model, ["de"]).languages == ["de"]
    with pytest.raises(SpeechError, match=r"no special symbol '<\|fr\|>'"):
        UnifiedTokenizer(model, ["fr"])
    assert aggregate.blank_id is None and unified.blank_id is None


def test_faulty_parts_are_named(models):
    en, de = models["en"], models["de"]
    for parts, message in [
        ({"en": en, "de": de}, "the sub-tokenizers en, de lack 'spl_tokens'"),
        (models | {"../en": en}, "sub-tokenizer '../en': a name has letters"),
        (models | {"en": b"junk"}, "sub-tokenizer 'en': not a whole SentencePiece model"),
        (models | {"en": en[:-1]}, "sub-tokenizer 'en': not a whole SentencePiece model"),
        ({"spl_tokens": en, "de": de}, "no special symbol '<pad>' in the tokenizer, it has <unk>"),
    ]:
        with pytest.raises(SpeechError) as caught:
            AggregateTokenizer(parts)
        assert str(caught.value).startswith(message) and "\n" not in str(caught.value)
