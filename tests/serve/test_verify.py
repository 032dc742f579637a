import numpy as np
import pytest

from serve.transcriber import OnnxTranscriber
from speech.request import UNGUARDED


@pytest.fixture(params=["32", "int8"])
def transcriber(request, exported):
    return OnnxTranscriber(exported, "cpu", request.param, threads=1)


def sound(seed: int, samples: int = 24000) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def test_one_pass_over_a_text_is_its_steps_whatever_stands_behind_it(transcriber):
    rate = transcriber.sample_rate
    step, prompt = transcriber.step(transcriber.encode([sound(0, rate)])), transcriber.decoding().prompt
    text = np.array([[*prompt, 20, 21, 22, 23, 24, 25]])
    whole, state = step.verify(text, 0, None)
    first, ours = step.first(text[:, : len(prompt)])
    one_by_one = [first.log_probs]
    for token in text[0, len(prompt) :]:
        scores, ours = step(np.array([token]), np.array([0]), ours)
        one_by_one.append(scores.log_probs)
    np.testing.assert_allclose(whole[0, len(prompt) - 1 :], np.concatenate(one_by_one), rtol=0, atol=1e-4)
    _, wrong = step.verify(np.full((1, 60), 30), len(prompt) + 2, state)  # other guesses, and a longer buffer
    again, _ = step.verify(text[:, len(prompt) + 2 :], len(prompt) + 2, wrong)
    np.testing.assert_allclose(again[0], whole[0, len(prompt) + 2 :], rtol=0, atol=1e-4)


def test_the_draft_changes_no_text(transcriber):
    rate = transcriber.sample_rate
    passes, run = [], transcriber.decoder.run
    transcriber.decoder.run = lambda bound, tokens, at: passes.append(tokens.shape[1]) or run(bound, tokens, at)
    for weight in (0.0, 0.5):
        found = {}
        for transcriber.speculative in (False, True):
            passes.clear()
            request = {"ctc_weight": weight, "beam_size": 1, "sampling_rate": rate, "batch_size": 1, **UNGUARDED}
            texts = [transcriber.transcribe(sound(seed, rate + 700 * seed), **request).text for seed in range(3)]
            found[transcriber.speculative] = texts
        assert found[False] == found[True]
        assert max(passes) > len(transcriber.decoding().prompt)  # guesses were verified
