import pytest
import torch

from speech.models.fastspeech import FastSpeechOut
from speech.models.tts_losses import fastspeech_loss
from speech.nn.masks import valid

close = torch.testing.assert_close
LENGTHS = torch.tensor([4, 2])
DURATIONS = torch.tensor([[1, 3, 0, 2], [2, 1, 0, 0]])
FRAMES = DURATIONS.sum(1)
PITCH = torch.tensor([[0.5, 0.0, -1.0, 0.3], [0.0, 0.7, 0.0, 0.0]])


def made(rows: slice = slice(None)) -> tuple[FastSpeechOut, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Predictions, mel, pitch and energy for these rows; what lies behind a length is noise."""
    generator = torch.Generator().manual_seed(3)
    tensors = [torch.randn(2, 6, 5, generator=generator) for _ in range(2)]
    predicted = [torch.randn(2, 4, generator=generator) for _ in range(5)]
    t, n = int(FRAMES[rows].max()), int(LENGTHS[rows].max())
    mel, target = (x[rows, :t] for x in tensors)
    values = [x[rows, :n] for x in predicted]
    return (
        FastSpeechOut(mel, FRAMES[rows], DURATIONS[rows, :n], *values[:4]),
        target,
        PITCH[rows, :n],
        values[4],
    )


def loss(rows: slice = slice(None)):
    out, mel, pitch, energy = made(rows)
    return fastspeech_loss(out, mel, LENGTHS[rows], pitch, energy)


def test_batch_loss_is_the_sum_of_single_losses():
    both, singles = loss(), [loss(slice(i, i + 1)) for i in range(2)]
    for name in both._fields:
        close(getattr(both, name).total, sum(getattr(s, name).total for s in singles))
        assert getattr(both, name).weight == sum(getattr(s, name).weight for s in singles)


def test_losses_are_their_formulas():
    out, mel, pitch, energy = made()
    found = loss()
    real = [(b, n) for b in range(2) for n in range(int(LENGTHS[b]))]
    frames = [(b, t) for b in range(2) for t in range(int(FRAMES[b]))]
    close(found.mel.total, sum((out.mel[b, t] - mel[b, t]).abs().mean() for b, t in frames))
    assert found.mel.weight == len(frames) == 9
    wanted = [max(1, int(DURATIONS[at])) for at in real]
    logs = torch.tensor(wanted).log()
    close(found.duration.total, sum((out.log_durations[at] - logs[i]) ** 2 for i, at in enumerate(real)))
    voiced = [at for at in real if PITCH[at] != 0]
    close(found.pitch.total, sum((out.pitch[at] - pitch[at]) ** 2 for at in voiced))
    assert found.pitch.weight == len(voiced) == 4
    p = out.voicing.sigmoid()
    close(found.voicing.total, -sum((p[at] if at in voiced else 1 - p[at]).log() for at in real))
    close(found.energy.total, sum((out.energy[at] - energy[at]) ** 2 for at in real))
    assert found.duration.weight == found.voicing.weight == found.energy.weight == len(real)


def test_the_gain_that_the_frames_tell_mends_the_total():
    out = made()[0]
    predicted = (out.log_durations.exp() * valid(LENGTHS, 4)).sum()
    gain = loss().frames.weight / loss().frames.total
    close(gain * predicted, DURATIONS.sum().float())


def test_a_voice_without_pitch_and_energy_has_no_loss_for_them():
    out, mel, _, _ = made()
    found = fastspeech_loss(out._replace(pitch=None, voicing=None, energy=None), mel, LENGTHS)
    assert found.pitch is None and found.voicing is None and found.energy is None
    close(found.mel.total, loss().mel.total)


def test_a_mel_of_another_length_is_our_mistake():
    out, mel, _, _ = made()
    with pytest.raises(AssertionError, match="durations add up"):
        fastspeech_loss(out, mel[:, :-1], LENGTHS)
