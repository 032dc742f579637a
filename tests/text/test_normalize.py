import random

import pytest

from speech.errors import SpeechError
from speech.text.normalize import RULES, normalize


@pytest.mark.parametrize(
    "text, rule, expected",
    [
        ("Don\u2019t  stop, \u2018Bob\u2019!", "en", "don't stop bob"),
        ("well-known ﬁsh dogs'", "en", "well known fish dogs"),
        ("你好， 世界！ Hello，ＡＢＣ", "zh", "你好世界 hello abc"),
        (" Kept, As Is ", "none", " Kept, As Is "),
    ],
)
def test_rules(text, rule, expected):
    assert normalize(text, rule) == expected


@pytest.mark.parametrize("rule", RULES)
def test_twice_is_once(rule):
    rng = random.Random(0)
    alphabet = "aIİé'\u2019\u0301\u00ad -.,中文，½ß\u200dﬁ"
    for _ in range(2000):
        once = normalize("".join(rng.choices(alphabet, k=8)), rule)
        assert normalize(once, rule) == once


def test_unknown_rule():
    with pytest.raises(SpeechError, match="'de' is not one of none, en, zh"):
        normalize("x", "de")
