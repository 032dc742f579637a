"""Words between marks of time, as Canary's flash models write them, from the search to the transcript."""

import numpy as np
import pytest

from speech.errors import SpeechError
from speech.generation import GenerationConfig
from speech.request import UNGUARDED
from speech.search.beam import Scores
from speech.transcriber import Transcriber

RATE = 16000


class Parrot(Transcriber):
    """Says what it was told, whatever it hears; numpy only. Without marks in the prompt it leaves them out."""

    sample_rate, frame_seconds, max_tokens, has_ctc = RATE, 0.08, 100, False

    def __init__(self, tokenizer, text: list[int], prompt_format: str = "canary2"):
        super().__init__(tokenizer, GenerationConfig(prompt_format=prompt_format))
        self.text = text

    def encode(self, waveforms):
        return waveforms

    def feature_frames(self, samples):
        return samples // 160

    def step(self, encoded, with_attention=False):
        return self

    def _scores(self, at: int, text: list[int], rows: int):
        log_probs = np.full((rows, self.tokenizer.size), -20.0, np.float32)
        log_probs[:, [*text, self.tokenizer.eos_id][at]] = -0.1
        return Scores(log_probs), (at + 1, text)

    def first(self, prompts):
        marked = self.tokenizer.special("<|timestamp|>") in prompts[0]
        return self._scores(0, [t for t in self.text if marked or t not in self.tokenizer.times], len(prompts))

    def __call__(self, tokens, parents, state):
        return self._scores(*state, len(tokens))

    def ctc_log_probs(self, encoded, row):
        raise AssertionError("it has none")

    def cross_attention(self, encoded, row, prompt, tokens):
        return np.full((1, len(tokens), len(encoded[row]) // 1280), 0.1)


@pytest.fixture
def parrot(aggregate) -> Parrot:
    def mark(i):
        return aggregate.special(f"<|{i}|>")

    said = [(2, "hello", 5), (5, "my", 6), (11, "friend", 15)]
    text = [i for a, word, b in said for i in (mark(a), *aggregate.encode(word, "en"), mark(b))]
    return Parrot(aggregate, text)


SOUND = np.random.default_rng(0).normal(size=2 * RATE).astype(np.float32) * 0.1


def test_times_are_those_that_the_decoder_writes(parrot):
    found = parrot.transcribe(SOUND, sampling_rate=RATE, language="en", word_timestamps=True, **UNGUARDED)
    assert found.text == "hello my friend" and found.duration == 2.0
    expected = [("hello", 0.16, 0.4), ("my", 0.4, 0.48), ("friend", 0.88, 1.2)]
    assert [(w.word, w.start, w.end) for w in found.words] == [
        (w, pytest.approx(a), pytest.approx(b)) for w, a, b in expected
    ]
    assert all(w.probability == pytest.approx(np.exp(-0.1), abs=1e-3) for w in found.words)
    marks = set(parrot.tokenizer.times)
    assert not marks & {token for segment in found.segments for token in segment.tokens}


def test_silence_that_was_put_before_does_not_move_them(parrot):
    short = SOUND[:RATE]
    before = [w.start for w in parrot.transcribe(short, sampling_rate=RATE, language="en", word_timestamps=True).words]
    parrot.generation.pad_seconds = 0.1
    after = [w.start for w in parrot.transcribe(short, sampling_rate=RATE, language="en", word_timestamps=True).words]
    np.testing.assert_allclose(after, np.maximum(0, np.array(before) - 0.1), atol=2e-3)


def test_without_word_times_asked_for_no_mark_is_written(parrot):
    found = parrot.transcribe(SOUND, sampling_rate=RATE, language="en", **UNGUARDED)
    assert found.text == "hello my friend" and not found.words


def test_a_prompt_without_the_slot_cannot_ask_for_them(parrot):
    parrot.generation.prompt_format = "canary"
    with pytest.raises(SpeechError, match="word_times 'tokens': this model has no tokens of time"):
        parrot.transcribe(SOUND, sampling_rate=RATE, language="en", word_times="tokens")
