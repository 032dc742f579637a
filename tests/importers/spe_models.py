"""Small SentencePiece models as NeMo makes them: `<unk>` is 0, no start."""

import io
from collections.abc import Iterable

import sentencepiece


def train(texts: Iterable[str], vocab_size: int, **options) -> bytes:
    model = io.BytesIO()
    settings = dict(model_type="bpe", hard_vocab_limit=False, bos_id=-1, minloglevel=3, num_threads=1)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=model, vocab_size=vocab_size, **settings, **options
    )
    return model.getvalue()
