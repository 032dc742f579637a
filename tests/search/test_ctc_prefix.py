import itertools

import numpy as np
import pytest

from speech.search.beam import BeamOptions
from speech.search.ctc_prefix import CtcPrefix, ctc_greedy, ctc_score
from speech.search.rules import suppress

BLANK, EOS = 0, 1
V = 4


def frames(seed, count, vocab=V, sharpness=1.5):
    x = sharpness * np.random.default_rng([seed, count]).normal(size=(count, vocab))
    return (x - np.log(np.exp(x).sum(1, keepdims=True))).astype(np.float32)


def collapse(path):
    return tuple(token for token, _ in itertools.groupby(path) if token != BLANK)


def texts_of(log_probs):
    """Probability of every text, summed over all alignments one by one."""
    probs = {}
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        p = float(np.exp(sum(log_probs[t, token].astype(float) for t, token in enumerate(path))))
        probs[collapse(path)] = probs.get(collapse(path), 0.0) + p
    return probs


def one_step(scorer, text, columns, own=None, utterance=0):
    """Bonuses of a text's next tokens, over tokens of its own so far."""
    for i in range(len(text)):
        scorer([text[:i]], np.array([utterance]), np.zeros((1, 1), np.float32), np.array([[text[i]]]))
    own = np.zeros((1, len(columns)), np.float32) if own is None else np.array([own], np.float32)
    return scorer([text], np.array([utterance]), own, np.array([columns]))[0]


def test_greedy_merges_repeats_and_drops_blanks():
    for path in ([0, 2, 2, 0, 2, 3, 3, 0], [2], [0, 0], [3, 2, 2, 3], []):
        assert ctc_greedy(np.eye(V)[path].reshape(-1, V), BLANK) == list(collapse(path))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_score_of_a_text_is_the_sum_over_its_alignments(count):
    log_probs = frames(0, count)
    probs = texts_of(log_probs)
    for length in range(count + 2):
        for text in itertools.product(range(1, V), repeat=length):
            expected = np.log(probs[text]) if text in probs else -np.inf
            assert ctc_score(log_probs, text, BLANK) == pytest.approx(expected, rel=1e-6)
    assert ctc_score(frames(0, 2), [2, 2], BLANK) == -np.inf, "a blank has no room between them"


@pytest.mark.parametrize("count", [1, 3, 5])
def test_prefixes_have_the_probability_of_all_texts_that_begin_so(count):
    for seed in range(3):
        log_probs = frames(seed, count)
        probs = texts_of(log_probs)

        def begins(text, probs=probs):
            return sum(p for other, p in probs.items() if other[: len(text)] == text)

        columns = [1, 2, 3]
        # eos has id 1 here, which is no text: the mass of texts with it belongs to no prefix under test
        for text in [(), (2,), (3,), (2, 2), (2, 3), (3, 2), (2, 3, 2), (2, 2, 3), (3, 2, 2, 3)]:
            if not begins(text):
                continue
            found = one_step(CtcPrefix([log_probs], BLANK, EOS, 1.0), list(text), columns)
            expected = [probs.get(text, 0.0), begins((*text, 2)), begins((*text, 3))]
            np.testing.assert_allclose(np.exp(found), np.array(expected) / begins(text), rtol=1e-5, atol=1e-12)


def test_the_weight_shares_between_decoder_and_ctc():
    log_probs, own = frames(1, 4), [-1.0, -2.0, -3.0]
    ctc = one_step(CtcPrefix([log_probs], BLANK, EOS, 1.0), [2], [1, 2, 3])
    joint = one_step(CtcPrefix([log_probs], BLANK, EOS, 0.3), [2], [1, 2, 3], own)
    np.testing.assert_allclose(joint + own, 0.7 * np.array(own) + 0.3 * ctc, rtol=1e-6)


def test_long_recordings_keep_their_precision():
    """Against the sum over alignments, where each token has -40 outside of its own frame."""
    count, text = 3000, [2, 3, 3, 2]
    log_probs = np.full((count, V), -40.0, np.float32)
    log_probs[:, BLANK] = -1e-4
    for at, token in zip((100, 1200, 1900, 2900), text, strict=True):
        log_probs[at] = np.where(np.arange(V) == token, -0.1, -12.0)
    end = one_step(CtcPrefix([log_probs], BLANK, EOS, 1.0), text, [EOS])[0]
    scorer, total = CtcPrefix([log_probs], BLANK, EOS, 1.0), 0.0
    for i in range(len(text)):
        total += scorer([text[:i]], np.array([0]), np.zeros((1, 1), np.float32), np.array([[text[i]]]))[0, 0]
    assert total + end == pytest.approx(ctc_score(log_probs, text, BLANK), abs=1e-6)


def test_what_the_ctc_never_writes_leaves_its_text_as_it_is():
    log_probs, mark = frames(2, 4, 6), 5
    plain = one_step(CtcPrefix([log_probs], BLANK, EOS, 0.5, [mark]), [2], [1, 2, 3])
    scorer = CtcPrefix([log_probs], BLANK, EOS, 0.5, [mark])
    marked = one_step(scorer, [mark, 2, mark], [1, 2, 3, mark, BLANK], [0, 0, 0, -2, -2])
    np.testing.assert_allclose(marked[:3], plain)
    np.testing.assert_allclose(marked[3:], 1.0)  # half of the decoder's -2 goes, and nothing comes for it


def test_forbidden_tokens_stay_forbidden_and_impossible_texts_do_not_come():
    log_probs = frames(0, 2)
    bonus = one_step(CtcPrefix([log_probs], BLANK, EOS, 0.5), [2], [1, 2, 3], [-1.0, -1.0, -np.inf])
    assert np.isfinite(bonus[0]) and bonus[1] == -np.inf and bonus[2] == -np.inf, "2 2 needs three frames"


def joint_best(model, log_probs, weight, cap, alpha=0.0):
    """By enumeration: the text with the greatest joint score."""
    best = (-np.inf, None)
    for length in range(cap):
        for text in itertools.product(range(2, V), repeat=length):
            ctc = ctc_score(log_probs, text, BLANK)
            own = sum(float(model(0, (*text, EOS)[:i])[t]) for i, t in enumerate((*text, EOS)))
            best = max(best, ((1 - weight) * own + weight * ctc, text))
    return best


@pytest.mark.parametrize("weight", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("stay", [False, True])
def test_a_wide_beam_finds_the_best_joint_text(weight, stay, search_over, random_log_probs):
    for seed in range(5):
        log_probs, model = frames(seed, 5), random_log_probs(seed, V)
        options = BeamOptions(EOS, size=64, length_penalty=0.0, ended_stay=stay)
        scorer = CtcPrefix([log_probs], BLANK, EOS, weight)
        [[found]] = search_over(model, options, [7], [scorer], [suppress([BLANK])])
        score, text = joint_best(model, log_probs, weight, 6)
        assert (found.tokens, found.score) == (list(text), pytest.approx(score, abs=1e-5))


def test_with_all_the_weight_it_finds_what_the_ctc_hears(search_over):
    """The decoder wants to end at once and has never heard of the tokens."""
    rng = np.random.default_rng(0)
    vocab, text = 40, [7, 7, 23, 5, 39, 5, 12]
    log_probs = np.full((60, vocab), -9.0) + rng.normal(size=(60, vocab))
    log_probs[:, BLANK] = -0.1
    for i, token in enumerate(text):
        log_probs[4 + 8 * i : 6 + 8 * i, token] = 0.5
    log_probs -= np.log(np.exp(log_probs).sum(1, keepdims=True))

    def decoder(utterance, prefix):
        x = np.where(np.arange(vocab) == EOS, 0.0, -20.0 + (np.arange(vocab) > 25) - 5.0 * np.isin(range(vocab), text))
        return (x - np.log(np.exp(x).sum())).astype(np.float32)

    for size in (1, 4):
        scorer = CtcPrefix([log_probs.astype(np.float32)], BLANK, EOS, 0.95)
        [[found]] = search_over(decoder, BeamOptions(EOS, size=size), [30], [scorer], [suppress([BLANK])])
        assert found.tokens == text == ctc_greedy(log_probs, BLANK) and found.finished
        assert found.token_log_probs[0] < -20.0, "the decoder's own"


def test_a_text_cut_off_is_scored_as_a_whole(search_over, random_log_probs):
    log_probs, model = frames(4, 6), random_log_probs(4, V)
    scorer = CtcPrefix([log_probs], BLANK, EOS, 0.4)
    [found] = search_over(
        model, BeamOptions(EOS, size=3, n_best=3, length_penalty=0.0), [3], [scorer], [suppress([BLANK, EOS])]
    )
    assert len(found) == 3
    for h in found:
        assert not h.finished
        assert h.score == pytest.approx(0.6 * h.log_prob + 0.4 * ctc_score(log_probs, h.tokens, BLANK), abs=1e-5)


@pytest.mark.parametrize("size", [1, 3])
def test_so_is_one_that_the_rules_stop(size, search_over, random_log_probs):
    def nothing_after_two(history, log_probs, ids):
        log_probs[np.array([len(tokens) == 2 for tokens in history])] = -np.inf

    log_probs, rules = frames(5, 6), [suppress([BLANK, EOS]), nothing_after_two]
    options = BeamOptions(EOS, size=size, n_best=size, length_penalty=0.0)
    scorer = CtcPrefix([log_probs], BLANK, EOS, 0.4)
    [found] = search_over(random_log_probs(5, V), options, [9], [scorer], rules)
    assert [len(h.tokens) for h in found] == [2] * size
    for h in found:
        assert h.score == pytest.approx(0.6 * h.log_prob + 0.4 * ctc_score(log_probs, h.tokens, BLANK), abs=1e-5)


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("stay", [False, True])
def test_batch_of_n_equals_n_singles(size, stay, search_over, random_log_probs):
    vocab, caps, lengths = 30, [9, 3, 14, 6, 14], [40, 11, 70, 23, 8]
    for seed in range(3):
        model = random_log_probs(seed, vocab)
        heard = [frames(seed, count, vocab, 3.0) for count in lengths]
        options = BeamOptions(EOS, size=size, n_best=size, ended_stay=stay)
        rules = [suppress([BLANK])]
        together = search_over(model, options, caps, [CtcPrefix(heard, BLANK, EOS, 0.4)], rules)
        for u, cap in enumerate(caps):
            scorer = CtcPrefix([heard[u]], BLANK, EOS, 0.4)
            assert search_over(model, options, [cap], [scorer], rules, utterances=[u]) == [together[u]]
