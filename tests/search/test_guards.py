import numpy as np
import pytest

from speech.search.ctc_prefix import ctc_score
from speech.search.guards import Guards, ctc_agreement, no_speech_prob
from speech.transcript import compression_ratio

BLANK, V = 0, 12


def heard(tokens, sure=0.9):
    """Log-probabilities of five frames for each token, the third of them its own, or of blanks."""
    probs = np.full((5 * max(1, len(tokens)), V), 0.001)
    probs[:, BLANK] = 0.989
    for i, token in enumerate(tokens):
        probs[5 * i + 2] = (1 - sure) / (V - 1)
        probs[5 * i + 2, token] = sure
    return np.log(probs).astype(np.float32)


def test_a_plain_text_raises_no_doubt():
    assert Guards().judge("a plain text", -0.3, 1.1, 0.01, 0.97).reasons == []
    assert Guards().judge("a plain text", -0.3, 1.1).reasons == [], "a model without a CTC head"
    assert Guards().judge("", -0.3, 0.0, 0.99, 1.0).reasons == [], "silence, and no text"


def test_each_limit_gives_its_reason_with_value_and_limit():
    loop = "thank you for watching " * 12
    [reason] = Guards().judge(loop, -0.3, compression_ratio(loop), 0.0, 0.9).reasons
    assert reason == f"compression_ratio {compression_ratio(loop):.3g} is above 2.4"
    assert Guards().judge("text", -1.01, 1.0, 0.6, 0.1).reasons == ["avg_logprob -1.01 is below -1"]
    made_up = Guards().judge("text", -1.0, 2.4, 0.61, 0.1)
    assert made_up.reasons == ["no_speech_prob 0.61 is above 0.6"] and made_up.silent
    assert Guards().judge("text", -1.0, 2.4, 0.6, 0.099).reasons == ["ctc_agreement 0.099 is below 0.1"]
    assert len(Guards().judge("text", -2.0, 3.0, 0.9, 0.0).reasons) == 4
    assert Guards(None, None, None, None).judge("text", -2.0, 3.0, 0.9, 0.0).reasons == []
    assert Guards(logprob=-0.2, no_speech=0.005).judge("text", -0.3, 1.0, 0.01, 1.0).reasons == [
        "avg_logprob -0.3 is below -0.2",
        "no_speech_prob 0.01 is above 0.005",
    ]


def test_the_text_with_fewer_doubts_is_better_then_the_one_that_ctc_heard():
    judge = Guards().judge
    sound, odd = judge("text", -0.3, 1.0, 0.0, 0.5), judge("text", -2.0, 1.0, 0.0, 0.9)
    assert sound.better_than(odd) and not odd.better_than(sound) and not sound.better_than(sound)
    assert judge("text", -0.3, 1.0, 0.0, 0.6).better_than(sound)


def test_agreement_is_one_for_what_the_ctc_heard_and_falls_with_what_it_did_not():
    tokens = [3, 4, 4, 5, 6, 7]
    log_probs = heard(tokens)
    assert ctc_agreement(log_probs, tokens, BLANK) == 1.0
    limit = Guards().ctc_agreement
    for other in ([8, 9, 10, 11, 9, 8], tokens * 3, tokens[:2], [], [3, 4, 4, 5, 6, *[7] * 40]):
        assert ctc_agreement(log_probs, other, BLANK) < limit, other
    one_wrong = ctc_agreement(log_probs, [3, 4, 4, 5, 6, 8], BLANK)
    assert limit < one_wrong < 1.0
    assert one_wrong == pytest.approx(
        np.exp((ctc_score(log_probs, [3, 4, 4, 5, 6, 8], BLANK) - ctc_score(log_probs, tokens, BLANK)) / 6)
    )


def test_the_longer_text_counts_and_a_likelier_one_than_the_best_path_agrees():
    tokens = [3, 4, 4, 5, 6, 7]
    log_probs = heard(tokens)
    ratio = ctc_score(log_probs, tokens[:5], BLANK) - ctc_score(log_probs, tokens, BLANK)
    assert ctc_agreement(log_probs, tokens[:5], BLANK) == pytest.approx(np.exp(ratio / 6))
    wavering = np.log(np.array([[0.6, 0.4], [0.6, 0.4]]))  # best path "" 0.36, text "1" 0.64
    assert ctc_agreement(wavering, [1], BLANK) == 1.0


def test_what_sounds_alike_is_no_disagreement():
    """The edit distance of both is the same."""
    log_probs = heard([3, 4, 5], sure=0.5)
    log_probs[12, 8] = np.log(0.4)
    assert ctc_agreement(log_probs, [3, 4, 8], BLANK) > 0.9
    assert ctc_agreement(log_probs, [3, 4, 9], BLANK) < 0.5


def test_silence_is_the_probability_of_the_empty_text():
    silence = heard([])
    assert no_speech_prob(silence, BLANK) == pytest.approx(0.989**5, rel=1e-4)
    assert no_speech_prob(silence, BLANK) > Guards().no_speech
    assert no_speech_prob(heard([5]), BLANK) < 0.02
    assert ctc_agreement(silence, [], BLANK) == 1.0
    assert ctc_agreement(silence, [3, 4], BLANK) < Guards().ctc_agreement, "a text from nothing"
    assert ctc_agreement(silence, [3] * 9, BLANK) == 0.0, "no room"
