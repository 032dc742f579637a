import dataclasses

import pytest
import torch
from tiny import FIRERED
from torch import nn

from speech.models.aed import AED, count_parameters
from speech.nn.config import AEDConfig, EncoderConfig

close = torch.testing.assert_close


@pytest.mark.parametrize("filler", [0.0, 0.9])
def test_padding_changes_nothing(aed, filler):
    lengths = torch.tensor([16000, 9000, 1300])
    batch = 0.1 * torch.randn(3, 17000, generator=torch.Generator().manual_seed(0))
    for i, n in enumerate(lengths):
        batch[i, n:] = filler
    together = aed.encode(batch, lengths)
    assert torch.equal(together.mask[:, 0, 0].sum(1), together.lengths)
    for i, n in enumerate(lengths):
        alone = aed.encode(batch[i : i + 1, :n], lengths[i : i + 1])
        m = int(alone.lengths)
        assert m == together.lengths[i]
        close(together.encoded[i, :m], alone.encoded[0, :m], atol=1e-4, rtol=1e-4)
        for ours, theirs in zip(together.memory, alone.memory, strict=True):
            close(ours.k[i, :, :m], theirs.k[0, :, :m], atol=1e-4, rtol=1e-4)
            close(ours.v[i, :, :m], theirs.v[0, :, :m], atol=1e-4, rtol=1e-4)
        close(aed.ctc_log_probs(together.encoded)[i, :m], aed.ctc_log_probs(alone.encoded)[0, :m], atol=1e-4, rtol=1e-4)


def test_a_recording_without_frames_harms_nobody(aed):
    batch = 0.1 * torch.randn(2, 8000)
    encoded = aed.encode(batch, torch.tensor([0, 8000]))
    logits = aed.decoder(torch.zeros(2, 3, dtype=torch.long), encoded.memory, encoded.mask).logits
    assert encoded.lengths[0] == 0 and encoded.encoded.isfinite().all() and logits.isfinite().all()


def test_a_projection_stands_between_unequal_widths_only(aed):
    unequal = aed.config.encoder.d_model != aed.config.decoder.d_model
    assert ("enc_proj.weight" in aed.state_dict()) == ("enc_proj.bias" in aed.state_dict()) == unequal


def test_ctc_head_is_an_option(aed):
    assert {"ctc.weight", "ctc.bias"} <= set(aed.state_dict())
    without = AED(dataclasses.replace(aed.config, ctc=False), 29)
    assert set(aed.state_dict()) - set(without.state_dict()) == {"ctc.weight", "ctc.bias"}
    close(aed.ctc_log_probs(torch.randn(1, 3, 16)).exp().sum(-1), torch.ones(1, 3))


def test_config_survives_its_dictionary(aed):
    assert AEDConfig.from_dict(dataclasses.asdict(aed.config)) == aed.config


def test_initial_biases_are_zero_and_all_is_finite(aed):
    torch.manual_seed(0)
    fresh = AED(aed.config, 29)
    for name, parameter in fresh.named_parameters():
        assert parameter.isfinite().all(), name
        if name.endswith(("bias", ".u", ".v_pos")):
            assert (parameter == 0).all(), name
        elif parameter.dim() > 1:
            assert 0 < parameter.std() < 1, name
    assert count_parameters(fresh) == sum(p.numel() for p in fresh.parameters())


@pytest.mark.parametrize("kind", ["conv4", "dw8"])
@pytest.mark.parametrize("n_mels", [40, 80, 128])
def test_the_signal_keeps_its_size_through_the_subsampling(kind, n_mels):
    torch.manual_seed(0)
    front = dataclasses.replace(FIRERED.frontend, n_mels=n_mels)
    encoder = EncoderConfig(64, 1, 4, 64, kind, 64, conv_kernel=7)
    model = AED(dataclasses.replace(FIRERED, frontend=front, encoder=encoder), 29)
    y, _ = model.encoder.subsampling(torch.randn(4, 200, n_mels), torch.full((4,), 200))
    assert 0.4 < y.square().mean() < 1.6


def test_gradient_reaches_every_parameter(aed):
    x = aed.encode(0.1 * torch.randn(2, 8000), torch.tensor([8000, 6000]))
    logits = aed.decoder(torch.randint(29, (2, 4)), x.memory, x.mask).logits
    (logits.square().sum() + aed.ctc_log_probs(x.encoded).square().sum()).backward()
    for name, parameter in aed.named_parameters():
        # a bias on the keys adds the same to every score of a query: softmax does not see it
        if name.endswith((".attn.k.bias", ".cross.k.bias")) and not name.startswith("encoder"):
            continue
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_dropout_is_off_in_evaluation(aed):
    x, n = 0.1 * torch.randn(1, 8000), torch.tensor([8000])
    assert torch.equal(aed.encode(x, n).encoded, aed.encode(x, n).encoded)
    aed.train()
    assert not torch.equal(aed.encode(x, n).encoded, aed.encode(x, n).encoded)
    assert any(isinstance(m, nn.Dropout) and m.p > 0 for m in aed.modules())
