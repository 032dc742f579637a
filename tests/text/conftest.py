"""One small tokenizer of every kind."""

import io
from collections.abc import Iterable

import pytest
import sentencepiece

from speech.text.canary import AggregateTokenizer, UnifiedTokenizer
from speech.text.firered import FireRedTokenizer
from speech.text.tokenizer import Tokenizer

EN = ["hello my friend how are you", "good evening to all", "the weather is nice today"]
DE = ["guten abend mein freund", "die tür ist zu", "das wetter ist gut und wir gehen"]
LANGUAGES = ["<|en|>", "<|de|>"]
FLAGS = [f"<|{no}{name}|>" for name in ("itn", "timestamp", "diarize") for no in ("", "no")]
EMOTIONS = [f"<|emo:{name}|>" for name in ("undefined", "neutral", "angry", "happy", "sad")]
START = ["<|nospeech|>", "<pad>", "<|endoftext|>", "<|startoftranscript|>", "<|pnc|>", "<|nopnc|>"]
TASKS = ["<|transcribe|>", "<|translate|>"]
SYMBOLS = [*START, *TASKS, "<|startofcontext|>", *LANGUAGES, *FLAGS, *EMOTIONS, *(f"<|{i}|>" for i in range(20))]


def train_spe(texts: Iterable[str], size: int = 70, symbols: Iterable[str] = (), **options) -> bytes:
    """A model as NeMo makes them: symbols are pieces, `<unk>` is 0, no start and no end."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type="bpe",
        vocab_size=size,
        hard_vocab_limit=False,
        user_defined_symbols=list(symbols),
        bos_id=-1,
        eos_id=-1,
        minloglevel=3,
        num_threads=1,
        **options,
    )
    return model.getvalue()


@pytest.fixture(scope="session")
def make_spe():
    return train_spe


@pytest.fixture(scope="session")
def spl_model() -> bytes:
    return train_spe([" ".join(SYMBOLS)], len(SYMBOLS) + 2, SYMBOLS)


@pytest.fixture(scope="session")
def models(spl_model) -> dict[str, bytes]:
    return {"spl_tokens": spl_model, "en": train_spe(EN), "de": train_spe(DE)}


@pytest.fixture(scope="session")
def aggregate(models) -> AggregateTokenizer:
    return AggregateTokenizer(models)


@pytest.fixture(scope="session")
def unified() -> UnifiedTokenizer:
    return UnifiedTokenizer(train_spe(EN + DE, 100, SYMBOLS))


@pytest.fixture(scope="session")
def english_model() -> bytes:
    return train_spe([text.upper() for text in EN], 60, remove_extra_whitespaces=False)


@pytest.fixture(scope="session")
def dictionary(english_model) -> str:
    """Specials, pieces in another order than the model's, so that its ids would be wrong, and Chinese characters."""
    sp = sentencepiece.SentencePieceProcessor(model_proto=english_model)
    pieces = [sp.id_to_piece(i) for i in range(1, sp.get_piece_size())]
    tokens = ["<blank>", "<unk>", "<pad>", "<sos>", "<eos>", *reversed(pieces), *"你好请打开今天气", "<sil>"]
    return "".join(f"{token} {i}\n" for i, token in enumerate(tokens))


@pytest.fixture(scope="session")
def firered(dictionary, english_model) -> FireRedTokenizer:
    return FireRedTokenizer(dictionary, english_model, lowercase=True)


@pytest.fixture(scope="session")
def own(tmp_path_factory) -> Tokenizer:
    path = tmp_path_factory.mktemp("own") / "tokenizer.model"
    return Tokenizer.train(EN + DE, path, 100, byte_fallback=False, languages=("en", "de"))


@pytest.fixture(params=["own", "firered", "aggregate", "unified"])
def tokenizer(request):
    return request.getfixturevalue(request.param)
