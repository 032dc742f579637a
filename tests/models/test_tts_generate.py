import pytest
import torch
from test_transformer_tts import V, tts

from speech.errors import SpeechError
from speech.models.transformer_tts import TransformerTTS
from speech.models.tts_generate import Generated, generate
from speech.nn.transformer_tts_config import GenerateOptions

close = torch.testing.assert_close
LENGTHS, EXPECTED = [9, 4, 6], [11.0, 5.0, 8.5]
WINDOWS = {
    "free": {},
    "window": {"window_heads": ((0, 1), (-1, 0))},
}


def phonemes() -> torch.Tensor:
    return torch.randint(V, (3, 9), generator=torch.Generator().manual_seed(5))


def run(model: TransformerTTS, rows=(0, 1, 2), expected=EXPECTED, **options) -> list[Generated]:
    lengths = torch.tensor([LENGTHS[i] for i in rows])
    ids = phonemes()[list(rows), : int(lengths.max())]
    asked = GenerateOptions(with_attention=True, **options)
    return generate(model, ids, lengths, [expected[i] for i in rows], asked)


def stopping(**options) -> TransformerTTS:
    """A model whose stop comes at different steps of the three sentences."""
    model = tts(**options)
    torch.manual_seed(8)
    torch.nn.init.normal_(model.stop.weight, std=1.0)
    model.stop.bias.data.fill_(-2)
    for layer in model.decoder:
        layer.cross.out.weight.data.mul_(4)  # hear the phonemes well
    return model


@pytest.mark.parametrize("reduction", [1, 3])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("seed", [None, 7])
def test_a_batch_equals_its_sentences_alone(reduction, window, seed):
    model = stopping(reduction=reduction)
    together = run(model, seed=seed, **WINDOWS[window])
    assert len({len(g.mel) for g in together}) > 1
    for i, one in enumerate(together):
        (alone,) = run(model, (i,), seed=seed, **WINDOWS[window])
        close(one.mel, alone.mel)
        close(one.attention, alone.attention)
        assert one.ended == alone.ended
        assert one.attention.shape == (2, 2, len(one.mel) // reduction, LENGTHS[i])


@pytest.mark.parametrize("reduction", [1, 2])
def test_the_cap_is_told(reduction):
    model = tts(reduction=reduction)
    model.stop.bias.data.fill_(-100)
    found = run(model)
    assert [g.ended for g in found] == [False] * 3
    assert [len(g.mel) for g in found] == ([22, 10, 17] if reduction == 1 else [22, 10, 18])
    model.stop.bias.data.fill_(100)
    found = run(model, max_times_expected=0.01)
    assert [(g.ended, len(g.mel)) for g in found] == [(True, reduction)] * 3


@pytest.mark.parametrize("reduction", [1, 3])
@pytest.mark.parametrize("seed", [None, 7])
def test_the_stop_ends_a_sentence_with_its_step(reduction, seed):
    model = stopping(reduction=reduction)
    found = run(model, seed=seed)
    assert any(g.ended for g in found)
    keep = None if seed is None else model.dropout_keep(99, seed)
    for i, one in enumerate(found):
        n, frame, cache, stops, mels = LENGTHS[i], torch.zeros(1, 5), None, [], []
        memory = model.encode(phonemes()[i : i + 1, :n], torch.tensor([n]))
        for t in range(len(one.mel) // reduction):
            out = model.decode(frame[:, None], memory, cache, None if keep is None else keep[t : t + 1])
            cache, frame = out.cache, out.mel[:, -1]
            stops.append(bool(out.stop > 0))
            mels.append(out.mel)
        assert stops == [False] * (len(stops) - 1) + [one.ended]
        close(model.refine(torch.cat(mels, 1), torch.tensor([len(one.mel)]))[0], one.mel)


def test_a_seed_is_another_sound_and_repeats():
    first, again, other = (run(tts(), seed=s)[0].mel for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first[:3], other[:3])


def test_a_window_moves_ahead_only():
    model = tts()
    model.stop.bias.data.fill_(-100)
    for layer in model.decoder:
        layer.cross.q.weight.data.mul_(20)  # sharp, and anywhere
    back, forward, expected = 1, 2, [60.0] * 3

    def allowed(weights: torch.Tensor) -> list[bool]:
        """weights [T, N]: whether each step stays inside the window of those before it."""
        furthest, inside = 0, []
        for row in weights:
            seen = row.nonzero()[:, 0]
            inside.append(bool(seen.min() >= furthest - back and seen.max() <= furthest + forward))
            furthest = max(furthest, int(row.argmax()))
        return inside

    chosen = ((0, 1), (-1, 0))
    bound = run(model, expected=expected, window_heads=chosen, window_back=back, window_forward=forward)
    for one in bound:
        close(one.attention.sum(3), torch.ones(one.attention.shape[:3]))
        assert [all(allowed(one.attention[layer, h])) for layer in (0, 1) for h in (0, 1)] == [False, True, True, False]
    assert bound[0].attention[0, 1].argmax(1).max() > 0  # it does move


def test_a_window_head_that_the_model_lacks():
    with pytest.raises(SpeechError, match="window_heads 2,0: the decoder has 2 layers of 2 heads"):
        run(tts(), window_heads=((2, 0),))
