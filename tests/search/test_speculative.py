import numpy as np
import pytest

from speech.search.beam import BeamOptions, Scores, beam_search
from speech.search.rules import max_repeats, suppress
from speech.search.speculative import WIDTH, Speculative

VOCABULARY, EOS, PROMPT = 6, 0, [3, 4]


class Table:
    """Scores are a function of the whole history. A state is what was seen: what is behind `filled` must not matter."""

    def __init__(self, log_probs, utterance):
        self.log_probs, self.utterance, self.widths = log_probs, utterance, []

    def verify(self, tokens, filled, state):
        self.widths.append(tokens.shape[1])
        seen = (state or [])[:filled]
        assert len(seen) == filled
        rows = []
        for token in tokens[0].tolist():
            seen = [*seen, token]
            rows.append(self.log_probs(self.utterance, seen))
        return np.array(rows)[None], seen

    def first(self, prompts):
        log_probs, state = self.verify(prompts, 0, None)
        return Scores(log_probs[:, -1]), state

    def __call__(self, tokens, parents, state):
        log_probs, state = self.verify(tokens[:, None], len(state), state)
        return Scores(log_probs[:, -1]), state


def greedy(step, options, cap):
    first, state = step.first(np.array([PROMPT]))
    rules = [suppress([1]), max_repeats(2, 4, 3)]
    return beam_search(step, first, state, options, np.array([cap]), rules)[0][0]


OPTIONS = [BeamOptions(EOS), BeamOptions(EOS, temperature=1.5, eos_penalty=2.0, ended_stay=True)]


@pytest.mark.parametrize("sharpness", [0.3, 2.0])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("cap", [1, 7, 60])
def test_any_draft_gives_the_greedy_text(random_log_probs, sharpness, options, cap):
    model, rng = random_log_probs(1, VOCABULARY, sharpness), np.random.default_rng(0)

    def log_probs(utterance, seen):  # ends late
        return model(utterance, seen) - 2.5 * (np.arange(VOCABULARY) == EOS)

    for utterance in range(4):
        plain = Table(log_probs, utterance)
        expected = greedy(plain, options, cap)
        text = expected.tokens
        drafts = [text, [], rng.integers(0, VOCABULARY, 50).tolist(), [*text, *text, 2, 3], text[:-2], text[1:]]
        drafts += [_changed(text, rng) for _ in range(4)]
        for draft in drafts:
            table = Table(log_probs, utterance)
            assert greedy(Speculative(table, draft, cap), options, cap) == expected
            assert len(table.widths) <= len(plain.widths)
            assert table.widths[0] <= len(PROMPT) + min(WIDTH, cap - 1)


def _changed(text, rng):
    """One token more, one less, one other."""
    text = list(text)
    for edit in ("insert", "delete", "replace"):
        at, token = int(rng.integers(len(text) + 1)), int(rng.integers(2, VOCABULARY))
        text[at : at + (edit != "insert")] = [] if edit == "delete" else [token]
    return text


LONG = (np.random.default_rng(5).permutation(40) + 2).tolist()


def passes(draft):
    """Of a decoder that writes LONG whatever it has read."""

    def log_probs(utterance, seen):
        scores = np.full(50, -9.0, np.float32)
        scores[[*LONG, EOS][min(len(seen) - len(PROMPT), 40)]] = -0.1
        return scores

    table = Table(log_probs, 0)
    assert greedy(Speculative(table, draft, 60), BeamOptions(EOS), 60).tokens == LONG
    return table.widths


def test_a_perfect_draft_takes_a_pass_for_each_width():
    assert len(passes(LONG)) == 1 + len(LONG) // (WIDTH + 1)


def test_a_useless_draft_is_soon_left_alone():
    widths = passes([45] * 40)
    assert len(widths) == 1 + len(LONG)
    assert set(widths[4:]) <= {1, 2}  # a token and a guess


def test_a_draft_that_comes_right_is_trusted_again():
    widths = passes([*[45] * 16, *LONG[16:]])
    assert len(widths) <= 24  # 16 tokens alone, then guesses of 2, 4, 8


@pytest.mark.parametrize("draft", [[*LONG[:9], 45, *LONG[10:]], [*LONG[:9], *LONG[10:]], [*LONG[:9], 45, *LONG[9:]]])
def test_an_error_of_the_draft_costs_a_pass_or_two(draft):
    """A token that is wrong, missing, or too many."""
    assert len(passes(draft)) <= len(passes(LONG)) + 2
