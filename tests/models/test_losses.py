import itertools

import pytest
import torch
import torch.nn.functional as F

from speech.models.aed import AED
from speech.models.losses import aed_loss, attention_loss, ctc_loss

close = torch.testing.assert_close
V, BLANK, EOS = 29, 0, 2
PROMPTS = [[3, 4], [3], [3, 5, 4]]
TEXTS = [[7, 8, 8, 9], [20, 28], [11]]
FRAMES = [160, 120, 40]


def features(i: int) -> torch.Tensor:
    return torch.randn(FRAMES[i], 24, generator=torch.Generator().manual_seed(i))


def loss(model: AED, rows: list[int], extra_frames=0, extra_tokens=0, filler=0, smoothing=0.1, texts=None, even=0.0):
    texts = texts or TEXTS
    tokens = [torch.tensor([*PROMPTS[i], *texts[i], EOS]) for i in rows]
    x = [features(i)[:, : model.config.frontend.n_mels] for i in rows]
    padded = torch.nn.utils.rnn.pad_sequence(x, True)
    return aed_loss(
        model,
        F.pad(padded, (0, 0, 0, extra_frames)),
        torch.tensor([len(f) for f in x]),
        F.pad(torch.nn.utils.rnn.pad_sequence(tokens, True, filler), (0, extra_tokens), value=filler),
        torch.tensor([len(t) for t in tokens]),
        torch.tensor([len(PROMPTS[i]) for i in rows]),
        smoothing,
        BLANK,
        even,
    )


@pytest.mark.parametrize("even", [0.0, 0.5])
def test_batch_loss_is_the_sum_of_single_losses(aed, even):
    singles = [loss(aed, [i], even=even) for i in range(3)]
    for padding in ({}, {"extra_frames": 33, "extra_tokens": 4}, {"extra_tokens": 2, "filler": 9}):
        batch = loss(aed, [0, 1, 2], even=even, **padding)
        close(batch.attention.total, sum(s.attention.total for s in singles), atol=1e-4, rtol=1e-5)
        close(batch.ctc.total, sum(s.ctc.total for s in singles), atol=1e-3, rtol=1e-5)
        assert batch.correct == sum(s.correct for s in singles)
        assert batch.attention.weight == batch.ctc.weight == sum(len(t) + 1 for t in TEXTS)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_attention_loss_is_its_formula_over_the_true_vocabulary(smoothing):
    logits, targets = 3 * torch.randn(2, 3, 8), torch.tensor([[1, 4, 0], [2, 2, 3]])
    keep = torch.tensor([[False, True, True], [True, False, True]])
    logits[..., 5:] += 9.0  # ids of the padded width, which belong to no token
    logits[0, 2, 0] = 30.0
    total = 0.0
    for b, u in keep.nonzero().tolist():
        p = torch.softmax(logits[b, u, :5].double(), 0)
        wanted = torch.full((5,), smoothing / 5, dtype=torch.float64)
        wanted[targets[b, u]] += 1 - smoothing
        total -= float((wanted * p.log()).sum())
    found, correct = attention_loss(logits, targets, keep, smoothing, 5)
    assert float(found.total) == pytest.approx(total, rel=1e-5)
    assert found.weight == 4
    assert correct == sum(logits[b, u, :5].argmax() == targets[b, u] for b, u in keep.nonzero().tolist()) >= 1


def test_text_and_eos_are_in_the_loss_and_the_prompt_is_not(aed):
    found = loss(aed, [0], smoothing=0.0)
    x = features(0)[None, :, : aed.config.frontend.n_mels]
    encoded = aed.encode_features(x, torch.tensor([FRAMES[0]]))
    sequence = [*PROMPTS[0], *TEXTS[0], EOS]
    logits = aed.decoder(torch.tensor([sequence[:-1]]), encoded.memory, encoded.mask).logits[0, :, :V]
    log_probs = logits.log_softmax(-1)
    at = range(len(PROMPTS[0]), len(sequence))
    close(found.attention.total, -sum(log_probs[i - 1, sequence[i]] for i in at))
    assert found.attention.weight == len(at)
    assert found.correct == sum(int(logits[i - 1].argmax() == sequence[i]) for i in at)


def test_ctc_sees_the_text_alone(aed):
    for i in range(3):
        x = features(i)[None, :, : aed.config.frontend.n_mels]
        encoded = aed.encode_features(x, torch.tensor([FRAMES[i]]))
        n = int(encoded.lengths)
        log_probs = aed.ctc_log_probs(encoded.encoded)[0, :n]
        expected = F.ctc_loss(log_probs, torch.tensor(TEXTS[i]), torch.tensor(n), torch.tensor(len(TEXTS[i])), 0, "sum")
        close(loss(aed, [i]).ctc.total, expected)


@pytest.mark.parametrize("even", [0.0, 0.5])
def test_an_utterance_too_short_for_ctc_counts_zero_there(aed, even):
    long = [TEXTS[0], TEXTS[1], [11] * 40]  # 40 frames give 10 or 5
    both, rest = loss(aed, [0, 2], texts=long, even=even), loss(aed, [0], texts=long, even=even)
    close(both.ctc.total, rest.ctc.total, atol=1e-3, rtol=1e-5)
    assert both.attention.weight == rest.attention.weight + 41
    assert loss(aed, [2], texts=long, even=even).ctc.total == 0
    (both.attention.total + both.ctc.total).backward()
    for name, parameter in aed.named_parameters():
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("even", [0.0, 0.5])
def test_an_empty_text_is_eos_alone(aed, even):
    found = loss(aed, [0], texts=[[]], even=even)
    assert found.attention.weight == 1 and found.ctc.total.isfinite() and found.ctc.total > 0


def test_without_a_ctc_head_there_is_no_ctc_loss(aed):
    aed.ctc = None
    assert loss(aed, [0, 1]).ctc is None


def test_ctc_weighs_every_alignment_by_the_prior():
    log_probs = torch.randn(1, 5, 6, dtype=torch.float64).log_softmax(-1).requires_grad_()
    prior = torch.randn(1, 5, 3, dtype=torch.float64)
    text, total = [4, 2, 5], torch.zeros((), dtype=torch.float64)
    for path in itertools.product([-1, 0, 1, 2], repeat=5):  # -1: blank
        if [u for u, _ in itertools.groupby(path) if u >= 0] == [0, 1, 2]:
            scores = (
                log_probs[0, t, 0] if u < 0 else log_probs[0, t, text[u]] + prior[0, t, u] for t, u in enumerate(path)
            )
            total = total + sum(scores).exp()
    asked = torch.tensor([5]), torch.tensor([text]), torch.tensor([3]), 0
    found = ctc_loss(log_probs, *asked, prior)
    close(found[0], -total.log())
    close(torch.autograd.grad(found.sum(), log_probs)[0], torch.autograd.grad(-total.log(), log_probs)[0])
    logits = torch.randn(1, 5, 6, requires_grad=True)
    plain, zero = (ctc_loss(logits.log_softmax(-1), *asked, p) for p in (None, torch.zeros(1, 5, 3)))
    close(plain, zero)
    close(torch.autograd.grad(plain.sum(), logits)[0], torch.autograd.grad(zero.sum(), logits)[0])
