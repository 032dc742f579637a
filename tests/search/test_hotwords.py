import numpy as np
import pytest

from speech.errors import SpeechError
from speech.search.beam import BeamOptions
from speech.search.hotwords import MAX_WEIGHT, WEIGHT, HotWords
from speech.text.firered import FireRedTokenizer
from speech.text.tokenizer import Tokenizer

EOS = 0
#          0        1      2    3     4    5    6    7     8
PIECES = ["<eos>", "▁new", "▁", "er", "▁york", "北", "京", "'", "▁city"]
NEW, LONE, ER, YORK, BEI, JING, QUOTE, CITY = range(1, 9)


def gains(words, text, pieces=PIECES):
    """The bonus of each token of a text as it comes, and that of the end."""
    ids = np.arange(len(pieces))[None]
    zeros = np.zeros(ids.shape, np.float32)
    path = [*text, EOS]
    return [float(words([list(path[:i])], np.array([0]), zeros, ids)[0, t]) for i, t in enumerate(path)]


def by_hand(phrases, text, pieces=PIECES):
    """Each token once, with the greatest weight of the phrases that hold it, which begin and end at words' edges."""

    def edge(i):
        chars = (pieces[text[i - 1]][-1], pieces[text[i]][0]) if 0 < i < len(text) else " "
        return not all(c.isascii() and c.isalnum() for c in chars)

    worth = [0.0] * len(text)
    for phrase, weight in phrases.items():
        for i in range(len(text) - len(phrase) + 1):
            j = i + len(phrase)
            if tuple(text[i:j]) == phrase and edge(i) and edge(j):
                worth[i:j] = [max(w, weight) for w in worth[i:j]]
    return sum(worth)


def test_a_phrase_pays_as_it_comes_and_once():
    words = HotWords({(NEW, YORK): 1.5}, PIECES)
    assert gains(words, [NEW, YORK]) == [1.5, 1.5, 0.0]
    assert gains(words, [CITY, NEW, YORK, CITY]) == [0.0, 1.5, 1.5, 0.0, 0.0]
    assert gains(words, [NEW, YORK, NEW, YORK]) == [1.5, 1.5, 1.5, 1.5, 0.0], "each time"
    assert gains(words, [YORK, CITY]) == [0.0, 0.0, 0.0]


def test_what_it_gave_is_taken_back_when_another_token_follows_or_the_text_ends():
    words = HotWords({(NEW, YORK, CITY): 1.5}, PIECES)
    assert gains(words, [NEW, CITY]) == [1.5, -1.5, 0.0]
    assert gains(words, [NEW, YORK, CITY]) == [1.5, 1.5, 1.5, 0.0]
    assert gains(words, [NEW, YORK]) == [1.5, 1.5, -3.0]
    assert gains(words, [NEW, YORK, NEW, YORK, CITY]) == [1.5, 1.5, -1.5, 1.5, 1.5, 0.0], "begun anew"
    assert gains(words, [NEW, NEW, YORK, CITY]) == [1.5, 0.0, 1.5, 1.5, 0.0]


def test_phrases_that_share_a_beginning_or_stand_in_each_other():
    both = {(NEW, YORK): 1.0, (NEW, YORK, CITY): 1.0, (YORK,): 2.0, (CITY, CITY): 1.0}
    words = HotWords(both, PIECES)
    assert gains(words, [NEW, YORK]) == [1.0, 2.0, 0.0], "york counts once, with its greater weight"
    assert gains(words, [NEW, YORK, CITY]) == [1.0, 2.0, 1.0, 0.0]
    assert gains(words, [NEW, YORK, CITY, NEW, CITY]) == [1.0, 2.0, 1.0, 1.0, 0.0, -1.0]
    assert gains(words, [NEW, CITY]) == [1.0, 0.0, -1.0], "the longest end that still is a beginning goes on"


def test_a_phrase_that_breaks_leaves_what_an_earlier_one_earned():
    words = HotWords({(NEW, YORK, CITY, BEI): 2.0, (BEI, JING, NEW, YORK): 1.0}, PIECES)
    assert gains(words, [NEW, YORK, CITY, BEI, JING, NEW, CITY]) == [2.0, 2.0, 2.0, 2.0, 1.0, 2.0, -3.0, 0.0]


def test_matches_are_whole_words():
    words = HotWords({(NEW,): 1.0}, PIECES)
    assert gains(words, [NEW, ER]) == [1.0, -1.0, 0.0], "newer"
    assert gains(words, [NEW, QUOTE, ER]) == [1.0, 0.0, 0.0, 0.0]
    bare = HotWords({(ER,): 1.0}, PIECES)
    assert gains(bare, [NEW, ER]) == [0.0, 0.0, 0.0]
    assert gains(bare, [ER]) == [1.0, 0.0] and gains(bare, [LONE, ER]) == [0.0, 1.0, 0.0]


def test_between_chinese_characters_any_place_is_an_edge():
    words = HotWords({(BEI, JING): 1.0, (ER,): 1.0}, PIECES)
    assert gains(words, [JING, BEI, JING, BEI]) == [0.0, 1.0, 1.0, 1.0, -1.0]
    assert gains(words, [NEW, ER, BEI, JING, ER, NEW]) == [0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("seed", range(8))
def test_any_text_earns_what_its_phrases_are_worth(seed):
    rng = np.random.default_rng(seed)
    few = [NEW, ER, BEI, QUOTE][: 2 + seed % 3]
    phrases = {tuple(rng.choice(few, rng.integers(1, 4)).tolist()): float(rng.integers(1, 4)) for _ in range(4)}
    words = HotWords(phrases, PIECES)
    for length in range(1, 12):
        for _ in range(8):
            text = rng.choice([*few, CITY], length, p=[0.95 / len(few)] * len(few) + [0.05]).tolist()
            found = gains(words, text)
            assert sum(found) == pytest.approx(by_hand(phrases, text))
            assert max(found) <= words.most == max(phrases.values())


def test_columns_may_come_in_any_order_and_rows_differ():
    words = HotWords({(NEW, YORK): 1.0}, PIECES)
    ids = np.array([[YORK, NEW, EOS], [NEW, YORK, CITY]])
    bonus = words([[NEW], []], np.array([0, 1]), np.zeros((2, 3), np.float32), ids)
    assert bonus.tolist() == [[1.0, 0.0, -1.0], [1.0, 0.0, 0.0]]


@pytest.mark.parametrize("stay", [False, True])
def test_a_beam_prefers_the_hot_word_where_the_model_wavers(stay, search_over):
    probs = {(): [0.0, 0.55, 0.45], (1,): [0.9, 0.05, 0.05], (2,): [0.2, 0.4, 0.4], (2, 2): [0.98, 0.01, 0.01]}

    def model(utterance, prefix):
        with np.errstate(divide="ignore"):
            return np.log(np.array(probs.get(prefix, [0.5, 0.25, 0.25]), np.float32))

    options = BeamOptions(EOS, size=3, length_penalty=0.0, ended_stay=stay)
    assert search_over(model, options, [3])[0][0].tokens == [1]
    three = ["<eos>", "▁a", "▁b"]
    words = HotWords({(2, 2): 1.0}, three)
    [[found]] = search_over(model, options, [3], [words])
    assert found.tokens == [2, 2] and found.log_prob == pytest.approx(np.log(0.45 * 0.4 * 0.98))
    assert found.score == pytest.approx(found.log_prob + 2.0)
    [[cut]] = search_over(model, BeamOptions(EOS, length_penalty=0.0), [1], [HotWords({(1, 1): 1.0}, three)])
    assert not cut.finished and cut.score == pytest.approx(np.log(0.55)), "a text cut off keeps nothing unfinished"


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("stay", [False, True])
def test_batch_of_n_equals_n_singles(size, stay, search_over, random_log_probs):
    words = HotWords({(NEW, YORK): 1.0, (YORK, YORK, ER): 2.0, (BEI,): 0.7}, PIECES)
    options, caps = BeamOptions(EOS, size=size, n_best=size, ended_stay=stay), [6, 1, 9, 3, 12]
    changed = 0
    for seed in range(4):
        model = random_log_probs(seed, len(PIECES), 1.0)
        together = search_over(model, options, caps, [words])
        for u, cap in enumerate(caps):
            assert search_over(model, options, [cap], [words], utterances=[u]) == [together[u]]
        changed += together != search_over(model, options, caps)
    assert changed


@pytest.fixture(scope="module")
def bpe(tmp_path_factory):
    texts = ["the phone rings one time", "one phone and one more stone", "北京 很 大", "我 在 北京"]
    return Tokenizer.train(texts, tmp_path_factory.mktemp("bpe") / "m", 90, byte_fallback=False)


def total(words, tokenizer, text):
    ids = tokenizer.encode(text)
    bonus = 0.0
    for i, token in enumerate([*ids, tokenizer.eos_id]):
        columns = np.array([[token]])
        bonus += float(words([ids[:i]], np.array([0]), np.zeros((1, 1), np.float32), columns)[0, 0])
    return bonus


def test_texts_become_tokens_that_match_in_running_text(bpe):
    words = HotWords.from_texts(["one", "北京"], bpe)
    one = len(bpe.encode("one"))
    assert total(words, bpe, "one phone and stone") == pytest.approx(WEIGHT * one)
    assert total(words, bpe, "the one  time") == pytest.approx(WEIGHT * one)
    assert total(words, bpe, "phone stone") == 0.0
    for text in ("北京大", "我在北京", "大北京大"):
        assert total(words, bpe, text) >= WEIGHT, text
    assert total(words, bpe, "京北") == 0.0


def test_a_mark_of_its_own_is_no_part_of_a_chinese_word(tmp_path):
    characters = Tokenizer.train(["我在北京", "one"], tmp_path / "m", 40, "char", byte_fallback=False)
    words = HotWords.from_texts(["北京"], characters)
    assert characters.pieces[characters.encode("北京")[0]] == "▁"
    assert total(words, characters, "我在北京") == total(words, characters, "北京我") - WEIGHT == 2 * WEIGHT


def test_weights_by_text_and_blanks_around_it(bpe):
    words = HotWords.from_texts({" more  stone ": 0.5, "one": 3.0}, bpe)
    assert total(words, bpe, "more stone") == pytest.approx(0.5 * len(bpe.encode("more stone")))
    assert words.most == 3.0
    assert total(HotWords.from_texts({"one": 3.0, " one": 1.0}, bpe), bpe, "one") == total(words, bpe, "one")
    assert HotWords.from_texts([], bpe).most == 0.0


def test_tokens_without_marks_begin_anywhere(bpe):
    names = ["<blank>", "<unk>", "<pad>", "<sos>", "<eos>", "北", "京", "大", "▁ONE", "▁MORE"]
    firered = FireRedTokenizer("\n".join(names), bpe.model)
    words = HotWords.from_texts(["北京"], firered)
    assert total(words, firered, "大北京大北京") == pytest.approx(4 * WEIGHT)


def test_texts_that_have_no_tokens_are_named(bpe):
    with pytest.raises(SpeechError, match="hot word 'straße': characters outside the vocabulary: 'ß'"):
        HotWords.from_texts(["one", "straße"], bpe)
    for text in ("", "  "):
        with pytest.raises(SpeechError, match="is empty; leave it out"):
            HotWords.from_texts([text], bpe)
    for weight in (0.0, -1.0, MAX_WEIGHT + 1, float("nan")):
        with pytest.raises(SpeechError, match=f"hot word 'one': weight {weight:g} is not above 0 and up to 20"):
            HotWords.from_texts({"one": weight}, bpe)
    firered = FireRedTokenizer("<blank>\n<unk>\n<pad>\n<sos>\n<eos>\n北", bpe.model)
    with pytest.raises(SpeechError, match="hot word '京北': the tokenizer has no tokens for it"):
        HotWords.from_texts(["京北"], firered)
    with pytest.raises(SpeechError, match="hot word ',': the tokenizer has no tokens for it"):
        HotWords.from_texts([","], firered)
