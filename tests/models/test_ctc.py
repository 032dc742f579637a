import torch
from tiny import CANARY, lively

from speech.models.ctc import CTCConfig, CTCModel

CONFIG = CTCConfig(CANARY.frontend, CANARY.encoder)


def model() -> CTCModel:
    return lively(CTCModel(CONFIG, 29))


def speech(*lengths: int) -> tuple[torch.Tensor, torch.Tensor]:
    waveforms = 0.1 * torch.randn(len(lengths), max(lengths))
    return waveforms * (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]), torch.tensor(lengths)


@torch.no_grad()
def test_every_frame_has_a_distribution_over_tokens_and_the_blank():
    ctc = model()
    log_probs, frames = ctc.log_probs(*speech(16000, 10000))
    assert log_probs.shape == (2, 13, 30) and frames.tolist() == [13, 8]
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(2, 13))
    assert (ctc.blank_id, ctc.frame_seconds) == (29, 0.08)
    with torch.autocast("cpu", torch.bfloat16):
        assert ctc.log_probs(*speech(16000))[0].dtype == torch.float32


@torch.no_grad()
def test_the_last_column_is_the_blank():
    ctc = model()
    waveforms = speech(16000)
    before = ctc.log_probs(*waveforms)[0]
    ctc.head.bias[ctc.blank_id] += 100
    after = ctc.log_probs(*waveforms)[0]
    assert (after.argmax(-1) == 29).all() and not (before.argmax(-1) == 29).all()


@torch.no_grad()
def test_a_clip_alone_is_the_clip_in_the_batch():
    ctc = model()
    waveforms, lengths = speech(16000, 9000)
    together, frames = ctc.log_probs(waveforms, lengths)
    alone, _ = ctc.log_probs(waveforms[1:, :9000], lengths[1:])
    torch.testing.assert_close(alone[0], together[1, : frames[1]], rtol=0, atol=1e-5)
