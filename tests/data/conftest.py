import pytest

from speech.text.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    return Tokenizer.train(["one two three"], tmp_path_factory.mktemp("t") / "t.model", 40, byte_fallback=False)
