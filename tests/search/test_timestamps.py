import itertools

import numpy as np
import pytest

from speech.search.alignment import Span, ctc_align
from speech.search.timestamps import energy_db, widen

RATE = 8000


def by_enumeration(log_probs, ids, blank):
    """The best of all frame paths that collapse to the ids: its frames of each token."""
    best, found = -np.inf, None
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        runs = [(key, len(list(group))) for key, group in itertools.groupby(path)]
        if [key for key, _ in runs if key != blank] != list(ids):
            continue
        score = sum(log_probs[t, s] for t, s in enumerate(path))
        if score > best:
            best, spans, at = score, [], 0
            for key, length in runs:
                if key != blank:
                    spans.append(Span(at, at + length))
                at += length
            found = spans
    return found


@pytest.mark.parametrize("ids", [[1], [1, 2], [1, 1], [2, 1, 2], [1, 1, 2], [2, 2, 2]])
@pytest.mark.parametrize("seed", range(4))
def test_the_alignment_is_the_likeliest_path(ids, seed):
    log_probs = np.random.default_rng(seed).standard_normal((6, 3)) * 2
    assert ctc_align(log_probs, ids, 0) == by_enumeration(log_probs, ids, 0)


def test_too_few_frames_have_no_alignment():
    log_probs = np.zeros((2, 3))
    assert ctc_align(log_probs, [1, 2, 1], 0) is None and ctc_align(log_probs, [1, 1], 0) is None
    assert ctc_align(log_probs, [1, 2], 0) == [Span(0, 1), Span(1, 2)]
    assert ctc_align(log_probs, [], 0) == []


def tones(*parts):
    """(seconds, amplitude) one after another."""
    pieces = [a * np.sin(np.arange(round(s * RATE)) * 0.4) for s, a in parts]
    return np.concatenate(pieces).astype(np.float32)


@pytest.mark.parametrize(("noise", "error"), [(0.0, 0.011), (0.02, 0.03)])
def test_words_grow_to_the_pauses_around_them(noise, error):
    sound = tones((0.5, 0.0), (0.4, 0.3), (0.6, 0.001), (0.5, 0.2), (0.3, 0.0))
    sound = (sound + noise * np.random.default_rng(0).standard_normal(len(sound))).astype(np.float32)
    first, second = widen([Span(0.6, 0.64), Span(1.7, 1.8)], energy_db(sound, RATE))
    assert (first.start, first.end) == pytest.approx((0.5, 0.9), abs=error)
    assert (second.start, second.end) == pytest.approx((1.5, 2.0), abs=error)


def test_words_without_a_pause_meet_where_it_is_quietest():
    sound = tones((0.5, 0.3), (0.04, 0.05), (0.5, 0.3))
    first, second = widen([Span(0.1, 0.2), Span(0.8, 0.9)], energy_db(sound, RATE))
    assert first.end == second.start and 0.49 <= first.end <= 0.55
    assert first.start == 0.0 and second.end == pytest.approx(1.04)


def test_a_pause_inside_a_word_does_not_end_it_and_times_are_in_order():
    rng = np.random.default_rng(0)
    for _ in range(50):
        sound = tones(*((rng.uniform(0.05, 0.4), rng.choice([0.0, 0.001, 0.1, 0.3])) for _ in range(12)))
        length = len(sound) / RATE
        cuts = np.sort(rng.uniform(0, length, 10)).reshape(5, 2)
        words = [Span(a, b) for a, b in cuts]
        grown = widen(words, energy_db(sound, RATE))
        for word, wide in zip(words, grown, strict=True):
            assert wide.start <= word.start + 1e-9 and word.end <= wide.end + 1e-9
        edges = [t for wide in grown for t in (wide.start, wide.end)]
        assert all(a <= b + 0.0101 for a, b in itertools.pairwise(edges)) and edges[-1] <= length + 0.01


def test_silence_alone_is_no_error():
    assert widen([Span(0.1, 0.2)], energy_db(np.zeros(RATE, np.float32), RATE))[0].start <= 0.1
    assert widen([], energy_db(np.zeros(RATE, np.float32), RATE)) == []
