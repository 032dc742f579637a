import pytest

from speech.text.words import group_words


@pytest.mark.parametrize(
    "pieces, words",
    [
        ([], []),
        (["\u2581one", "\u2581tw", "o"], ["\u2581one", "\u2581two"]),
        (["o", "n", "\u2581t"], ["on", "\u2581t"]),
        (["\u2581", "one", "\u2581", "t", "wo"], ["\u2581one", "\u2581two"]),
        (["请", "打", "\u2581HE", "LLO", "播"], ["请", "打", "\u2581HELLO", "播"]),
        (["请", "A", "B", "好"], ["请", "AB", "好"]),
        (["\u2581", "\u2581a"], ["\u2581", "\u2581a"]),
        (["\u2581it", "'", "s"], ["\u2581it's"]),
    ],
)
def test_words(pieces, words):
    groups = group_words(pieces)
    assert ["".join(pieces[i] for i in group) for group in groups] == words
    assert [i for group in groups for i in group] == list(range(len(pieces)))
