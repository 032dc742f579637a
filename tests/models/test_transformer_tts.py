from dataclasses import asdict

import pytest
import torch
from tiny import lively

from speech.errors import SpeechError
from speech.models.transformer_tts import ConvNorm, TransformerTTS
from speech.models.transformer_tts_losses import transformer_tts_loss
from speech.nn.mel_config import MelConfig
from speech.nn.transformer_tts_config import TransformerTTSConfig, TransformerTTSLossConfig

close = torch.testing.assert_close
V, N, T, F = 11, 6, 13, 5
LENGTHS, MEL_LENGTHS = torch.tensor([N, 4]), torch.tensor([T, 8])


def config(**options) -> TransformerTTSConfig:
    sizes = dict(d_model=16, n_heads=2, encoder_layers=2, decoder_layers=2, d_ff=32, prenet_width=8, postnet_channels=8)
    return TransformerTTSConfig(mel=MelConfig(n_mels=F), **(sizes | options))


def tts(**options) -> TransformerTTS:
    torch.manual_seed(0)
    return lively(TransformerTTS(config(**options), V))


@pytest.fixture
def batch() -> tuple:
    generator = torch.Generator().manual_seed(1)
    phonemes = torch.randint(V, (2, N), generator=generator)
    return phonemes, LENGTHS, torch.randn(2, T, F, generator=generator), MEL_LENGTHS


@pytest.mark.parametrize("pre_norm", [True, False])
@pytest.mark.parametrize("reduction", [1, 2, 3])
@pytest.mark.parametrize("seed", [None, 3])
def test_steps_with_a_cache_equal_the_full_pass(batch, reduction, pre_norm, seed):
    model, (phonemes, lengths, mel, mel_lengths) = tts(reduction=reduction, pre_norm=pre_norm), batch
    keep = None if seed is None else model.dropout_keep(50, seed)
    steps = -(-T // reduction)
    whole = model(*batch, keep=keep[:steps] if keep is not None else None)
    memory, cache, frame = model.encode(phonemes, lengths), None, torch.zeros(2, F)
    for t in range(steps):
        now = keep[t : t + 1] if keep is not None else None
        out = model.decode(frame[:, None], memory, cache, now)
        here = slice(t * reduction, min(T, (t + 1) * reduction))
        close(out.mel[:, : here.stop - here.start], whole.mel_before[:, here])
        close(out.stop[:, 0], whole.stop[:, t])
        for step, full in zip(out.attention, whole.attention, strict=True):
            close(step[:, :, 0], full[:, :, t])
        cache, frame = out.cache, mel[:, min(T, here.stop) - 1]
    close(model.refine(whole.mel_before, mel_lengths), whole.mel)


def test_the_prenets_dropout_is_a_function_of_the_seed():
    model = tts(prenet_width=400, prenet_dropout=0.25)
    keep = model.dropout_keep(9, 4)
    close(model.dropout_keep(5, 4), keep[:5])
    assert 0.72 < keep.float().mean() < 0.78 and not torch.equal(model.dropout_keep(9, 5), keep)
    for layer in (*model.prenet.layers, model.prenet.out):
        layer.bias.data.zero_()
    frames = torch.randn(2, 1, F)
    plain = model.prenet(frames, None)
    close(model.prenet(frames, torch.ones(1, 2, 400, dtype=torch.bool)), plain / 0.75**2)
    model.train()
    assert not torch.equal(model.prenet(frames, None), model.prenet(frames, None))


def test_the_postnet_adds_to_the_mel(batch):
    model = tts()
    assert not torch.allclose(model(*batch).mel, model(*batch).mel_before)
    for parameter in model.postnet[-1].norm.parameters():
        parameter.data.zero_()
    close(model(*batch).mel, model(*batch).mel_before)


def pad(batch: tuple, phonemes: int, frames: int, filler: float) -> tuple:
    """The second row alone, cut to its length, then with padding."""
    ids = torch.full((1, 4 + phonemes), 7)
    mel = torch.full((1, 8 + frames, F), filler)
    ids[:, :4], mel[:, :8] = batch[0][1:, :4], batch[2][1:, :8]
    return ids, LENGTHS[1:], mel, MEL_LENGTHS[1:]


@pytest.mark.parametrize("reduction", [1, 2, 3])
def test_padding_changes_nothing(batch, reduction):
    model, steps = tts(reduction=reduction), -(-8 // reduction)
    alone = model(*pad(batch, 0, 0, 0.0))
    for out in (model(*pad(batch, 3, 5, 99.0)), model(*batch)):
        close(out.mel[-1:, :8], alone.mel)
        close(out.stop[-1:, :steps], alone.stop)
        for padded, short in zip(out.attention, alone.attention, strict=True):
            close(padded[-1:, :, :steps, :4], short)
            assert (padded[-1:, ..., 4:] == 0).all()


def test_padding_changes_nothing_in_training_either(batch):
    found = []
    for rows in (pad(batch, 0, 0, 0.0), pad(batch, 3, 5, 99.0)):
        model = tts(dropout=0.0, conv_dropout=0.0, prenet_dropout=0.0).train()
        found.append((model(*rows).mel[:, :8], model.convs[0].norm.running_var, model.postnet[4].norm.running_mean))
    for alone, padded in zip(*found, strict=True):
        close(alone, padded)


def test_batch_norm_is_torchs_on_the_real_frames():
    conv, keep = ConvNorm(3, 4, 1, torch.nn.Identity(), 0.0), torch.tensor([[True, True, False], [True, False, False]])
    x = torch.randn(2, 3, 3)
    y = x @ conv.conv.weight[:, :, 0].T
    real = torch.stack([y[0, 0], y[0, 1], y[1, 0]])
    close(conv(x, keep)[keep], (real - real.mean(0)) / (real.var(0, correction=0) + 1e-5).sqrt())


@pytest.mark.parametrize("reduction", [1, 3])
def test_later_frames_have_no_gradient(batch, reduction):
    model, (phonemes, lengths, mel, mel_lengths) = tts(reduction=reduction), batch
    mel.requires_grad_()
    out = model(phonemes, lengths, mel, mel_lengths)
    for t in range(T):
        start = t // reduction * reduction  # first frame of its step
        (gradient,) = torch.autograd.grad(
            out.mel_before[0, t].square().sum(), mel, retain_graph=True, allow_unused=t == 0
        )
        read = torch.zeros(T, dtype=torch.bool)
        read[reduction - 1 : start : reduction] = True
        assert torch.equal((gradient[0] != 0).any(1), read)


@pytest.mark.parametrize("pre_norm", [True, False])
def test_every_parameter_gets_a_gradient(batch, pre_norm):
    model = tts(n_speakers=3, reduction=2, pre_norm=pre_norm).train()
    out = model(*batch, torch.tensor([2, 0]))
    durations = torch.tensor([[2, 2, 2, 2, 2, 3], [2, 2, 2, 2, 0, 0]])
    loss = transformer_tts_loss(out, *batch[2:], LENGTHS, 2, TransformerTTSLossConfig(), durations)
    sum(part.total for part in loss[:5]).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_speakers_are_heard_and_one_must_be_given(batch):
    model = tts(n_speakers=3)
    a, b = (model(*batch, torch.tensor([0, s])).mel for s in (1, 2))
    close(a[0], b[0])
    assert not torch.allclose(a[1], b[1])
    with pytest.raises(SpeechError, match="the model has 3 speakers: give one of them"):
        model(*batch)


def test_positions_have_a_scale_of_their_own_on_either_side(batch):
    model = tts()
    before = model(*batch).mel_before
    for positions in (model.encoder_positions, model.decoder_positions):
        positions.alpha.data.fill_(2.0)
        after = model(*batch).mel_before
        assert not torch.allclose(before, after)
        before = after


def test_the_papers_size():
    model = TransformerTTS(TransformerTTSConfig(), 80)
    attention, norms, ff = 4 * 512**2 + 3 * 512, 3 * 2 * 512, 2 * 512 * 2048 + 2048 + 512
    assert sum(p.numel() for p in model.decoder.parameters()) == 6 * (2 * attention + norms + ff)


def test_config_survives_its_dict_and_refuses_unknown_keys():
    made = config(reduction=2, n_speakers=4)
    assert TransformerTTSConfig.from_dict(asdict(made)) == made
    with pytest.raises(SpeechError, match="model config: .*'width'"):
        TransformerTTSConfig.from_dict({"width": 3})
    for options, message in [
        ({"conv_kernel": 4}, "conv_kernel 4 is even"),
        ({"reduction": 0}, "model.reduction 0 must be above 0"),
        ({"postnet_layers": 1}, "postnet_layers 1 is below 2"),
    ]:
        with pytest.raises(SpeechError, match=message):
            config(**options)
