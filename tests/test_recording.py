import numpy as np

from speech.audio.pieces import Piece
from speech.recording import Heard, Recording
from speech.search.timed_words import TimedWord
from speech.text.tokenizer import Tokenizer


def test_a_transcript_is_put_together_from_pieces(tmp_path):
    tokenizer = Tokenizer.train(["one two three"], tmp_path / "t.model", 64, byte_fallback=False)

    def said(text: str, start: float, log_prob: float) -> TimedWord:
        tokens = tokenizer.encode(text)
        return TimedWord(text, tokens, [log_prob] * len(tokens), start, start + 0.4)

    one, two, three = said("one", 8.0, -0.5), said("two", 9.0, -0.25), said("three", 9.5, -1.0)
    recording = Recording(0, samples=200000, read=True)
    recording.pieces = [
        Piece(0.0, np.ones(5), 0.0, 9.1),
        Piece(8.5, np.ones(5), 9.1, 12.0),
        Piece(12.5, np.ones(5), 12.5),
    ]
    assert not recording.finished
    settled = []
    for i, (words, end) in ((1, ([two, three], [])), (0, ([one, two], [-0.1])), (2, ([], [-3.0]))):
        recording.keep(i, Heard(words, end))
        settled.append(recording.settled(tokenizer))
    assert settled == ["", "one two", "one two three"]  # the first piece and the second have heard two
    assert recording.finished and all(piece.waveform.base is None for piece in recording.pieces)
    found = recording.transcript(tokenizer, "en", 16000, list_words=True)
    assert found.text == "one two three" == " ".join(w.word for w in found.words)
    assert (found.duration, found.language) == (12.5, "en")
    assert [(s.id, s.seek, s.start, s.end) for s in found.segments] == [
        (0, 0, 8.0, 8.4),
        (1, 0, 9.0, 9.4),
        (2, 850, 9.5, 9.9),
    ]
    assert found.segments[2].avg_logprob == -1.0
    n = len(two.tokens)
    assert found.segments[1].avg_logprob == (-0.25 * n - 0.1) / (n + 1)
    assert recording.transcript(tokenizer, "en", 16000, list_words=False).words == []
