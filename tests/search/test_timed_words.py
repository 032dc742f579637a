import numpy as np
import pytest

from speech.search.alignment import Span
from speech.search.timed_words import Clock, TimedWord, join_overlap, marked_words, split_segments, word_spans

TIMES = {100 + i: i * 0.08 for i in range(50)}


def word(text: str, start: float, end: float) -> TimedWord:
    return TimedWord(text, [1], [-0.1], start, end)


def texts(words) -> list[str]:
    return [w.text for w in words]


def test_marks_of_time_stand_around_words():
    groups, spans = marked_words([103, 7, 8, 106, 110, 9, 112], TIMES)
    assert groups == [[1, 2], [5]]
    np.testing.assert_allclose(spans, [(0.24, 0.48), (0.8, 0.96)])


@pytest.mark.parametrize(
    "tokens, expected",
    [
        ([7, 103], [([0], 0, 0.24)]),  # no first mark
        ([103, 7], [([1], 0.24, 0.24)]),  # no last mark
        ([103, 7, 105, 8, 107], [([1], 0.24, 0.4), ([3], 0.4, 0.56)]),  # one mark between two
        ([110, 7, 103], [([1], 0.8, 0.8)]),  # a time that goes back
        ([103, 104], []),
        ([], []),
    ],
)
def test_missing_and_odd_marks(tokens, expected):
    groups, spans = marked_words(tokens, TIMES)
    assert [(g, pytest.approx(s.start), pytest.approx(s.end)) for g, s in zip(groups, spans, strict=True)] == expected


def test_words_without_an_alignment_share_the_recording():
    clock = Clock(0.04, 0.0, np.zeros(16000, np.float32), 16000)
    assert word_spans([[0], [1, 2]], None, clock) == [(0, 0.5), (0.5, 1.0)]


def test_frames_become_seconds_without_the_silence_before():
    clock = Clock(0.1, 0.5, np.ones(16000, np.float32), 16000)  # evenly loud: edges stay near the peaks
    [first, second] = word_spans([[0], [1]], [Span(6, 7), Span(12, 13)], clock)
    assert first.start <= 0.1 and first.end <= second.start + 1e-9 <= 0.7 + 2e-9 and second.end <= 1.0


def test_segments_end_at_sentences_and_pauses():
    said = [
        word("Yes.", 0, 0.3), word("Mind", 0.3, 0.5), word("you,", 0.5, 0.7), word("“no?”", 0.75, 1),
        word("是。", 1, 1.2), word("a", 1.3, 1.4), word("b", 1.89, 2), word("c", 2.5, 3),
    ]  # fmt: skip
    assert [texts(s) for s in split_segments(said)] == [
        ["Yes."],
        ["Mind", "you,", "“no?”"],
        ["是。"],
        ["a", "b"],
        ["c"],
    ]
    assert split_segments([]) == []


def test_an_overlap_is_joined_at_a_word_that_both_heard():
    left = [word("the", 8, 8.2), word("old", 8.3, 8.6), word("House", 9.0, 9.5), word("hid", 9.6, 9.8)]
    right = [word("dose", 8.4, 8.9), word("house", 9.1, 9.5), word("hidden", 9.6, 10.2), word("the", 10.3, 10.4)]
    a, b = join_overlap(left, right, 9.2)
    assert texts(a) + texts(b) == ["the", "old", "House", "hidden", "the"]


def test_without_a_common_word_the_time_decides():
    left = [word("a", 8, 8.4), word("b", 8.8, 9.2), word("c", 9.3, 9.5)]
    right = [word("x", 8.5, 8.9), word("y", 9.1, 9.4), word("c", 12, 12.2)]  # c comes again much later
    a, b = join_overlap(left, right, 9.1)
    assert texts(a) + texts(b) == ["a", "b", "y", "c"]
    assert join_overlap([], right, 9.1) == ([], right[1:]) and join_overlap(left, [], 9.1) == (left[:2], [])
