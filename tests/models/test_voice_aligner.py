import math

import numpy as np
import pytest
import torch
from scipy.stats import betabinom
from tiny import lively

from speech.errors import DataError
from speech.models.aligner import (
    BLANK_SCORE,
    NEVER,
    Aligner,
    binarisation_loss,
    forward_sum_loss,
    hard_durations,
    log_prior,
)
from speech.models.length_regulator import phoneme_of_frames
from speech.nn.masks import valid
from speech.nn.tts_config import AlignerConfig
from speech.tts_metrics import focus_rate

close = torch.testing.assert_close
SMALL = AlignerConfig(d_embed=8, text_filters=12, mel_filters=10, d_attention=6, temperature=0.05)
FRAMES, PHONEMES = torch.tensor([20, 13, 5]), torch.tensor([7, 9, 5])


def scores(extra_frames: int = 0, extra_phonemes: int = 0) -> torch.Tensor:
    """[3, 20 + extra, 9 + extra], as the aligner gives them."""
    made = 3 * torch.randn(3, 20, 9, generator=torch.Generator().manual_seed(2))
    made = torch.nn.functional.pad(made, (0, extra_phonemes, 0, extra_frames), value=2.0)
    return made.masked_fill(~valid(PHONEMES, 9 + extra_phonemes)[:, None], NEVER)


def total_by_programme(log_probs: torch.Tensor) -> float:
    """Log of the sum over alignments: phonemes in order, each at least once, blanks anywhere; log_probs [T, 1 + N]."""
    labels = [0]
    for n in range(1, log_probs.size(1)):
        labels += [n, 0]
    p = log_probs.double().exp()[:, labels]
    chance = torch.zeros(len(labels), dtype=torch.float64)
    chance[:2] = p[0, :2]
    for row in p[1:]:
        new = chance.clone()
        new[1:] += chance[:-1]
        new[3::2] += chance[1:-2:2]  # from phoneme to phoneme without a blank
        chance = new * row
    return math.log(chance[-2:].sum())


def best_by_programme(log_probs: torch.Tensor) -> tuple[float, list[int]]:
    """Score and durations of the best path through log_probs [T, N], one phoneme on or the same at each frame."""
    n_frames, n_phonemes = log_probs.shape
    best, stays = log_probs[0].double().clone(), []
    best[1:] = -math.inf
    for row in log_probs[1:].double():
        moved = torch.cat([torch.tensor([-math.inf], dtype=torch.float64), best[:-1]])
        stays.append(best >= moved)
        best = torch.maximum(best, moved) + row
    at, durations = n_phonemes - 1, [0] * n_phonemes
    for t in range(n_frames - 1, -1, -1):
        durations[at] += 1
        at -= 0 if t == 0 or stays[t - 1][at] else 1
    return float(best[-1]), durations


def test_forward_sum_is_the_plain_programme():
    found, expected = forward_sum_loss(scores(4, 2), FRAMES, PHONEMES), 0.0
    for i in range(3):
        x = scores()[i, : FRAMES[i], : PHONEMES[i]]
        blank = torch.full((int(FRAMES[i]), 1), BLANK_SCORE)
        expected -= total_by_programme(torch.cat([blank, x], 1).log_softmax(1))
    assert float(found.total) == pytest.approx(expected, rel=1e-5)
    assert found.weight == PHONEMES.sum()


@pytest.mark.parametrize("case", range(10))
def test_hard_path_is_the_plain_programme(case):
    generator = torch.Generator().manual_seed(case)
    n = int(torch.randint(1, 12, (), generator=generator))
    t = n + int(torch.randint(0, 40, (), generator=generator))
    x = 4 * torch.randn(1, t, n, generator=generator)
    durations = hard_durations(x, torch.tensor([t]), torch.tensor([n]))
    log_probs = x[0].log_softmax(-1)
    score, expected = best_by_programme(log_probs)
    assert durations[0].tolist() == expected
    on_path = log_probs.gather(1, phoneme_of_frames(durations, t)[0, :, None]).sum()
    assert float(on_path) == pytest.approx(score, rel=1e-5)


def test_durations_add_up_and_padding_changes_nothing():
    durations = hard_durations(scores(5, 3), FRAMES, PHONEMES)
    assert durations.shape == (3, 12) and (durations.sum(1) == FRAMES).all()
    assert ((durations >= 1) == valid(PHONEMES, 12)).all()
    assert durations[2, :5].tolist() == [1] * 5  # as many frames as phonemes
    assert (hard_durations(scores(), FRAMES, PHONEMES) == durations[:, :9]).all()


def test_a_very_improbable_path_is_still_a_path_without_blanks():
    """Sound that runs backwards: the best path is wrong in 21 of 50 frames, by 900 nats each."""
    x = torch.zeros(1, 50, 2)
    x[0, :20, 1] = x[0, 20:, 0] = 900.0
    assert hard_durations(x, torch.tensor([50]), torch.tensor([2])).tolist() == [[49, 1]]


def test_fewer_frames_than_phonemes():
    few = torch.tensor([20, 8, 5])
    with pytest.raises(DataError, match="utterance 1 of the batch has 9 phonemes and 8 mel frames"):
        hard_durations(scores(), few, PHONEMES)
    x = scores().requires_grad_()
    forward_sum_loss(x, few, PHONEMES).total.backward()
    assert x.grad.isfinite().all() and (x.grad[1] == 0).all() and (x.grad[0] != 0).any()


def test_prior_is_the_beta_binomial():
    found = log_prior(FRAMES, PHONEMES, 22, 10)
    for i, (t, n) in enumerate(zip(FRAMES.tolist(), PHONEMES.tolist(), strict=True)):
        expected = np.stack([betabinom(n - 1, j, t + 1 - j).logpmf(range(n)) for j in range(1, t + 1)])
        close(found[i, :t, :n], torch.from_numpy(expected).float(), atol=1e-5, rtol=1e-5)
        close(found[i, :t, :n].exp().sum(1), torch.ones(t))
    long = log_prior(torch.tensor([3000]), torch.tensor([400]), 3000, 400)
    close(long[0].exp().sum(1), torch.ones(3000))


def test_padding_changes_no_score_and_the_prior_is_added():
    model = lively(Aligner(SMALL, 11, 4))
    phonemes, mel = torch.randint(0, 11, (3, 12)), torch.randn(3, 24, 4)
    together = model(phonemes, PHONEMES, mel, FRAMES)
    assert together.shape == (3, 24, 12)
    for i, (t, n) in enumerate(zip(FRAMES.tolist(), PHONEMES.tolist(), strict=True)):
        alone = model(phonemes[i : i + 1, :n], PHONEMES[i : i + 1], mel[i : i + 1, :t], FRAMES[i : i + 1])
        close(together[i, :t, :n], alone[0], atol=1e-4, rtol=1e-4)
        assert (together[i, :, n:] == NEVER).all()
    without = model(phonemes, PHONEMES, mel, FRAMES, prior=False)
    real = valid(FRAMES, 24)[..., None] & valid(PHONEMES, 12)[:, None]
    close((together - without)[real], log_prior(FRAMES, PHONEMES, 24, 12)[real], atol=1e-5, rtol=1e-4)
    close(without.exp().sum(2), torch.ones(3, 24))


def test_scores_fall_with_the_squared_distance():
    model = lively(Aligner(SMALL, 11, 4))
    phonemes, mel = torch.randint(0, 11, (1, 12)), torch.randn(1, 24, 4)
    keys = model.text[1](model.text[0](model.embed(phonemes)).relu())
    queries = model.mel[2](model.mel[1](model.mel[0](mel).relu()).relu())
    squared = (queries[0, :, None] - keys[0, None]).square().sum(-1)
    found = model(phonemes, torch.tensor([12]), mel, torch.tensor([24]), prior=False)[0]
    close(found, (-SMALL.temperature * squared).log_softmax(-1), atol=1e-5, rtol=1e-4)
    assert found.std() > 0.01


def test_binarisation_is_the_mean_log_probability_on_the_path():
    x = scores(2)
    durations = hard_durations(x, FRAMES, PHONEMES)
    found, expected = binarisation_loss(x, durations, FRAMES), 0.0
    for i in range(3):
        path = torch.arange(9).repeat_interleave(durations[i])
        log_probs = x[i, : FRAMES[i], : PHONEMES[i]].log_softmax(-1)
        expected -= sum(float(log_probs[t, n]) for t, n in enumerate(path))
    assert float(found.total) == pytest.approx(expected, rel=1e-5) and found.weight == FRAMES.sum()


def sentences(count: int) -> tuple[torch.Tensor, ...]:
    """Ten symbols, each with its own spectrum, in noise: phonemes, lengths, durations, mel, lengths."""
    spectra = 2 * torch.randn(10, 8, generator=torch.Generator().manual_seed(0))
    lengths = torch.randint(4, 11, (count,))
    keep = valid(lengths, 10)
    phonemes = torch.randint(0, 10, (count, 10))
    phonemes = torch.where(phonemes == phonemes.roll(1, 1), (phonemes + 1) % 10, phonemes)  # few neighbours alike
    durations = torch.randint(1, 9, (count, 10)) * keep
    frames = durations.sum(1)
    path = phoneme_of_frames(durations, frames.max())
    mel = spectra[phonemes.gather(1, path)] + 0.5 * torch.randn(count, int(frames.max()), 8)
    return phonemes, lengths, durations, mel, frames


def test_it_learns_to_align_without_being_told():
    torch.manual_seed(1)
    model = Aligner(AlignerConfig(d_embed=32, text_filters=32, mel_filters=32, d_attention=16, temperature=0.05), 10, 8)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for step in range(200):
        phonemes, lengths, _, mel, frames = sentences(8)
        x = model(phonemes, lengths, mel, frames)
        total, weight = forward_sum_loss(x, frames, lengths)
        loss = total / weight
        if step >= 100:
            total, weight = binarisation_loss(x, hard_durations(x, frames, lengths), frames)
            loss = loss + total / weight
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    phonemes, lengths, durations, mel, frames = sentences(32)
    with torch.no_grad():
        x = model(phonemes, lengths, mel, frames)
        alone = model(phonemes, lengths, mel, frames, prior=False)
    found = hard_durations(x, frames, lengths)
    right = phoneme_of_frames(found, int(frames.max())) == phoneme_of_frames(durations, int(frames.max()))
    assert right[valid(frames, right.size(1))].float().mean() > 0.95
    focus = [
        focus_rate(alone[i, :t, :n].softmax(-1).numpy()) for i, (t, n) in enumerate(zip(frames, lengths, strict=True))
    ]
    assert np.mean(focus) > 0.6  # of 4 to 10 phonemes, some of them twice in a sentence
