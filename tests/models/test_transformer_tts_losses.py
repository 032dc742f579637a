import math

import pytest
import torch
import torch.nn.functional as F
from test_transformer_tts import LENGTHS, MEL_LENGTHS, N, T, V, tts

from speech.errors import SpeechError
from speech.models.transformer_tts_losses import (
    agreement,
    extract_durations,
    focus_rates,
    guide,
    guided_loss,
    guided_weight,
    l1_loss,
    path_of,
    pick,
    stop_loss,
    supervised_loss,
    transformer_tts_loss,
)
from speech.nn.transformer_tts_config import TransformerTTSLossConfig

close = torch.testing.assert_close
DURATIONS = torch.tensor([[3, 1, 4, 0, 3, 2], [2, 2, 3, 1, 0, 0]])  # of 13 and 8 frames


def test_guide_is_the_formula_inside_a_rows_area():
    weight = guide(LENGTHS, MEL_LENGTHS, 0.4, (T, N))
    for row, n_all, t_all in ((0, N, T), (1, 4, 8)):
        for t in range(T):
            for n in range(N):
                inside = n < n_all and t < t_all
                wanted = 1 - math.exp(-((n / n_all - t / t_all) ** 2) / (2 * 0.4**2)) if inside else 0.0
                assert weight[row, t, n].item() == pytest.approx(wanted, abs=1e-6)


def test_guided_loss_is_the_mean_over_the_area():
    attention = torch.rand(2, 3, T, N)
    loss = guided_loss(attention, LENGTHS, MEL_LENGTHS, 0.4)
    weight = guide(LENGTHS, MEL_LENGTHS, 0.4, (T, N))
    assert loss.weight == 3 * (N * T + 4 * 8)
    close(loss.total, sum((weight * attention[:, h]).sum() for h in range(3)))


def test_guidance_ends_once_the_focus_is_found():
    config = TransformerTTSLossConfig(guided_weight=2.0)
    found = [guided_weight(config, focus) for focus in (0.1, 0.6, 0.65, 0.7, 0.9)]
    assert found == pytest.approx([2, 2, 1, 0, 0])


def test_l1_is_per_frame_and_blind_to_padding():
    told, mel = torch.zeros(2, T, 5), torch.ones(2, T, 5)
    mel[1, 8:] = 99
    loss = l1_loss(told, mel, MEL_LENGTHS)
    assert (loss.total, loss.weight) == (21, 21)


def test_stop_counts_its_positive_more():
    logits = torch.randn(2, T)
    loss = stop_loss(logits, MEL_LENGTHS, 5.0)
    wanted = sum(
        5 * F.softplus(-logits[row, t]) if t == length - 1 else F.softplus(logits[row, t])
        for row, length in ((0, 13), (1, 8))
        for t in range(length)
    )
    close(loss.total, wanted)
    assert loss.weight == 21


def test_the_path_takes_the_middle_frame_of_each_step():
    assert path_of(DURATIONS, MEL_LENGTHS, 1, 13).tolist() == [
        [0, 0, 0, 1, 2, 2, 2, 2, 4, 4, 4, 5, 5],
        [0, 0, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3, 3],
    ]
    assert path_of(DURATIONS, MEL_LENGTHS, 3, 5).tolist() == [[0, 2, 2, 4, 5], [0, 2, 3, 3, 3]]  # frames 1 4 7 10 12


@pytest.mark.parametrize("reduction", [1, 2, 3])
def test_supervised_loss_is_zero_on_a_perfect_path_only(reduction):
    steps, total = -(-MEL_LENGTHS // reduction), -(-T // reduction)
    path = path_of(DURATIONS, MEL_LENGTHS, reduction, total)
    perfect = F.one_hot(path, N).float()
    perfect[1, steps[1] :] = 0
    loss = supervised_loss(perfect, path, steps)
    assert (loss.total, loss.weight) == (0, steps.sum())
    flat = supervised_loss(torch.full((2, total, N), 1 / N), path, steps)
    close(flat.total / flat.weight, torch.tensor(math.log(N)))


@pytest.mark.parametrize("reduction", [1, 3])
def test_the_loss_of_a_batch_is_that_of_its_rows(reduction):
    generator = torch.Generator().manual_seed(1)
    model, config = tts(reduction=reduction), TransformerTTSLossConfig()
    phonemes, mel = torch.randint(V, (2, N), generator=generator), torch.randn(2, T, 5, generator=generator)

    def loss(rows, n, t):
        batch = phonemes[rows, :n], LENGTHS[rows], mel[rows, :t], MEL_LENGTHS[rows]
        return transformer_tts_loss(model(*batch), *batch[2:], batch[1], reduction, config, DURATIONS[rows, :n])

    whole, first, second = loss([0, 1], N, T), loss([0], N, T), loss([1], 4, 8)
    for part, a, b in zip(whole, first, second, strict=True):
        close(part.total, a.total + b.total)
        close(part.weight, a.weight + b.weight)
    assert whole.stop.weight == (21 if reduction == 1 else 8) and whole.after.weight == 21


def test_the_supervised_head_is_the_one_set():
    out = tts()(torch.zeros(2, N, dtype=torch.long), LENGTHS, torch.zeros(2, T, 5), MEL_LENGTHS)
    arguments = out, torch.zeros(2, T, 5), MEL_LENGTHS, LENGTHS, 1
    assert transformer_tts_loss(*arguments, TransformerTTSLossConfig()).supervised is None
    found = transformer_tts_loss(*arguments, TransformerTTSLossConfig(supervised_head=(1, -1)), DURATIONS).supervised
    path = path_of(DURATIONS, MEL_LENGTHS, 1, T)
    close(found.total, supervised_loss(pick(out.attention, ((1, 1),))[:, 0], path, MEL_LENGTHS).total)
    with pytest.raises(SpeechError, match="guided_heads 0,9: the decoder has 2 layers of 2 heads"):
        transformer_tts_loss(*arguments, TransformerTTSLossConfig(guided_heads=((0, 9),)))


def made_up(reduction: int) -> list[torch.Tensor]:
    """Two layers of two heads; head 1 of layer 0 puts 0.9 on the path, the others are flat."""
    path = path_of(DURATIONS, MEL_LENGTHS, reduction, -(-T // reduction))
    flat = torch.full((*path.shape, N), 1 / N)
    sharp = F.one_hot(path, N) * 0.88 + 0.02
    return [torch.stack([flat, sharp], 1), torch.stack([flat, flat], 1)]


def test_focus_rate_is_the_mean_of_the_largest_weight():
    attention = made_up(1)
    attention[0][1, :, 8:] = 1  # past the end of the second row
    close(focus_rates(attention, MEL_LENGTHS), torch.tensor([[1 / 6, 0.9], [1 / 6, 1 / 6]]).expand(2, 2, 2))


@pytest.mark.parametrize("reduction", [1, 2])
def test_agreement_counts_frames_beside_the_path(reduction):
    def looking(path: torch.Tensor) -> torch.Tensor:  # [B, T] -> [B, H, T, N]
        return F.one_hot(path, N).float()[:, None]

    lengths, steps, durations = MEL_LENGTHS, -(-T // reduction), torch.tensor([[8, 1, 1, 1, 1, 1], [5, 1, 1, 1, 0, 0]])
    t = torch.arange(steps) * reduction
    straight = (t * LENGTHS[:, None] // MEL_LENGTHS[:, None]).clamp(max=N - 1)
    perfect = path_of(durations, lengths, reduction, steps)
    far = (perfect + 2).clamp(max=N - 1)
    attention = [torch.cat([looking(perfect), looking(straight)], 1), torch.cat([looking(far)] * 2, 1)]
    found = agreement(attention, durations, lengths, reduction)
    hard = [[n for n, d in enumerate(row) for _ in range(d)] for row in durations.tolist()]

    def count(path: torch.Tensor) -> int:
        return sum(abs(n - int(path[b, i // reduction])) <= 1 for b, row in enumerate(hard) for i, n in enumerate(row))

    assert found.tolist() == [[count(perfect), count(straight)], [count(far)] * 2]
    assert found[0, 0] == 21 and found[1, 0] < found[0, 1] < 21


def test_durations_are_those_of_the_sharpest_head():
    found = extract_durations(made_up(1), MEL_LENGTHS, 1)
    assert torch.equal(found.frames, DURATIONS)
    close(found.focus, torch.tensor([0.9, 0.9]))
    assert found.head.tolist() == [[0, 1], [0, 1]]


@pytest.mark.parametrize("head", [None, (-1, 0)])
def test_durations_sum_to_the_mel_with_steps_of_several_frames(head):
    found = extract_durations(made_up(3), MEL_LENGTHS, 3, head)
    assert torch.equal(found.frames.sum(1), MEL_LENGTHS)
    if head:
        assert found.head.tolist() == [[1, 0], [1, 0]]
    else:  # paths 0 2 2 4 5 and 0 2 3 of three frames each, the last steps of one and two
        assert found.frames.tolist() == [[3, 0, 6, 0, 3, 1], [3, 0, 3, 2, 0, 0]]
