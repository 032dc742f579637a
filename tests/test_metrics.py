import pytest

from speech.metrics import error_rates


def rates(pairs, unit="word"):
    ids = [f"u{i}" for i in range(len(pairs))]
    return error_rates(ids, [r for r, _ in pairs], [h for _, h in pairs], unit)


@pytest.mark.parametrize(
    "reference, hypothesis, counts",
    [
        ("one two three", "one two three", (0, 0, 0)),
        ("one two three", "one six three", (1, 0, 0)),
        ("one two three", "one three", (0, 1, 0)),
        ("one two three", "one two two three", (0, 0, 1)),
        ("one two three", "", (0, 3, 0)),
        ("one", "two three four", (1, 0, 2)),
        ("one two three four", "two six four five", (1, 1, 1)),
        ("One two", "one two.", (2, 0, 0)),  # nothing is normalised here
        ("one\ttwo\u00a0three\n", " one  two three", (0, 0, 0)),
    ],
)
def test_words_by_hand(reference, hypothesis, counts):
    found = rates([(reference, hypothesis)])
    assert (found.substitutions, found.deletions, found.insertions) == counts
    assert (found.errors, found.tokens) == (sum(counts), len(reference.split()))
    assert found.rate == sum(counts) / len(reference.split())


def test_characters_leave_blanks_out():
    found = rates([("今天 天气好", "今天天 气不好啊"), ("hello", "hallo")], "char")
    assert (found.substitutions, found.deletions, found.insertions, found.tokens) == (1, 0, 2, 10)
    assert [rates([("今天 天", "今 天天")], unit).errors for unit in ("char", "word")] == [0, 2]


def test_the_rate_is_of_sums_not_of_rates():
    found = rates([("one", "two"), ("a b c d e f g h i", "a b c d e f g h i"), ("a b", "a b c d")])
    assert found.rate == 3 / 12
    assert found.sentence_rate == 2 / 3


def test_empty_references_are_counted_apart():
    found = rates([("", "a loud hallucination"), ("one two", "one"), (" \n", "")])
    assert (found.empty_references, found.errors, found.tokens) == (2, 1, 2)
    assert [u.id for u in found.utterances] == ["u1"]
    assert found.sentence_rate == 1.0
    none = rates([("", "x")])
    assert (none.rate, none.sentence_rate, none.empty_references) == (0.0, 0.0, 1)


def test_worst_come_first_and_right_ones_never():
    found = rates([("a", "b"), ("a b", "x y"), ("a b", "a b"), ("c d", "x y"), ("a b c", "")])
    assert [(u.id, u.errors) for u in found.worst(9)] == [("u4", 3), ("u1", 2), ("u3", 2), ("u0", 1)]
    assert [u.id for u in found.worst(2)] == ["u4", "u1"]
    assert [u.id for u in error_rates(["b", "a"], ["x", "x"], ["y", "y"], "word").worst(2)] == ["a", "b"]


def test_utterances_keep_their_texts_and_order():
    found = rates([("b a", "b"), ("c", "c")])
    assert [(u.id, u.reference, u.hypothesis, u.errors, u.tokens) for u in found.utterances] == [
        ("u0", "b a", "b", 1, 2),
        ("u1", "c", "c", 0, 1),
    ]


def test_lists_of_different_length_are_our_mistake():
    with pytest.raises(ValueError):
        error_rates(["a", "b"], ["x", "y"], ["x"], "word")
