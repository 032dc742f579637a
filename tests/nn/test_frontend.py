import math
import os
from pathlib import Path

import librosa
import numpy as np
import pytest
import torch
from torchaudio.compliance import kaldi

from speech.audio.decode import decode
from speech.nn.config import FrontendConfig
from speech.nn.frontend import Frontend

close = torch.testing.assert_close
KALDI = FrontendConfig(kind="kaldi", n_mels=80, wave_scale=32768, low_hz=20, norm="none")


def mel(**options) -> FrontendConfig:
    return FrontendConfig(kind="mel", **{"n_mels": 128, "norm": "none", **options})


def wave(name: str, rate: int = 16000) -> torch.Tensor:
    """[1, samples]: white noise, or two seconds of read speech from the corpora."""
    if name == "noise":
        return 0.1 * torch.randn(1, rate * 3 // 2, generator=torch.Generator().manual_seed(0))
    if "SPEECH_CORPORA" not in os.environ:
        pytest.skip("SPEECH_CORPORA is not set: no recorded speech")
    path = Path(os.environ["SPEECH_CORPORA"]) / "edge_audio/lhotse/libri/libri-1088-134315-0000.wav"
    return torch.from_numpy(decode(path, rate, start=1.0, duration=2.0))[None]


def features(config: FrontendConfig, x: torch.Tensor, lengths: list[int] | None = None, form: str = "fft"):
    frontend = Frontend(config)
    frontend = frontend.convolutional() if form == "conv" else frontend
    return frontend(x, torch.tensor(lengths or [x.size(1)]))


@pytest.mark.parametrize("form", ["fft", "conv"])
@pytest.mark.parametrize("rate", [16000, 8000])
@pytest.mark.parametrize("source", ["noise", "speech", "offset"])
def test_kaldi_features_equal_torchaudio(source, rate, form):
    x = wave("noise", rate) + 0.1 if source == "offset" else wave(source, rate)
    theirs = kaldi.fbank(
        x * 32768,
        num_mel_bins=80,
        dither=0.0,
        energy_floor=0.0,
        snip_edges=True,
        low_freq=20.0,
        high_freq=0.0,
        sample_frequency=rate,
    )
    config = FrontendConfig(kind="kaldi", sample_rate=rate, n_mels=80, wave_scale=32768, low_hz=20, norm="none")
    ours, frames = features(config, x, form=form)
    assert ours.shape[1:] == theirs.shape and frames.item() == len(theirs)
    close(ours[0], theirs, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("rate", "n_mels"), [(16000, 128), (8000, 40)])
@pytest.mark.parametrize("form", ["fft", "conv"])
@pytest.mark.parametrize("source", ["noise", "speech"])
def test_mel_features_equal_librosa(source, rate, n_mels, form):
    x = wave(source, rate)
    win, hop = rate // 40, rate // 100
    n_fft = {16000: 512, 8000: 256}[rate]
    y = x[0].double().numpy()
    y = np.append(y[:1], y[1:] - 0.97 * y[:-1])
    window = librosa.filters.get_window("hann", win, fftbins=False)
    spectrum = librosa.stft(y, n_fft=n_fft, hop_length=hop, win_length=win, window=window, pad_mode="constant")
    bank = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=n_mels, fmin=0, fmax=rate / 2)
    theirs = np.log(bank @ np.abs(spectrum) ** 2 + 2**-24).T
    ours, frames = features(mel(sample_rate=rate, n_mels=n_mels), x, form=form)
    assert ours.size(1) == frames.item() == x.size(1) // hop == len(theirs) - 1
    close(ours[0].double(), torch.from_numpy(theirs)[:-1].double(), atol=1e-3, rtol=0)


def test_utterance_norm_uses_unbiased_deviation_plus_1e_5():
    x = wave("noise") * torch.linspace(0, 1, 24000)
    raw, _ = features(mel(), x)
    ours, _ = features(mel(norm="utterance"), x)
    close(ours, (raw - raw.mean(1)) / (raw.std(1, unbiased=True) + 1e-5), atol=1e-4, rtol=1e-4)


def test_one_frame_normalises_to_zero():
    ours, frames = features(mel(norm="utterance"), wave("noise")[:, :200])
    assert frames.tolist() == [1]
    close(ours, torch.zeros(1, 1, 128), atol=1e-4, rtol=0)


def test_global_statistics_are_saved_and_applied():
    saved = Frontend(mel(norm="global"))
    assert set(saved.state_dict()) == set(saved.convolutional().state_dict()) == {"mean", "inv_std"}
    saved.mean.copy_(torch.randn(128))
    saved.inv_std.copy_(torch.rand(128) + 0.5)
    loaded = Frontend(mel(norm="global"))
    loaded.load_state_dict(saved.state_dict())
    x = wave("noise")
    y, _ = loaded(x, torch.tensor([24000]))
    close(y, (features(mel(), x)[0] - saved.mean) * saved.inv_std)


def test_frame_counts():
    samples = torch.tensor([0, 159, 160, 399, 400, 559, 560, 24000, 48000, 48159])
    assert Frontend(KALDI).frames(samples).tolist() == [0, 0, 0, 0, 1, 1, 2, 148, 298, 299]
    assert Frontend(mel()).frames(samples).tolist() == [0, 0, 1, 2, 2, 3, 3, 150, 300, 300]


@pytest.mark.parametrize("norm", ["none", "global", "utterance"])
@pytest.mark.parametrize("config", [KALDI, mel()], ids=["kaldi", "mel"])
def test_padding_changes_nothing(config, norm):
    frontend = Frontend(FrontendConfig(**{**vars(config), "norm": norm}))
    frontend.mean += 1.0
    lengths = torch.tensor([24000, 9123, 500])
    batch = wave("noise").repeat(3, 1)
    for filler in (0.0, 0.9):
        for i, n in enumerate(lengths):
            batch[i, n:] = filler
        y, frames = frontend(batch, lengths)
        for i, n in enumerate(lengths):
            alone, m = frontend(batch[i : i + 1, :n], lengths[i : i + 1])
            assert m == frames[i] == alone.size(1)
            close(y[i : i + 1, :m], alone, atol=1e-4, rtol=1e-4)
            assert (y[i, m:] == 0).all()


@pytest.mark.parametrize("norm", ["none", "global", "utterance"])
@pytest.mark.parametrize(("config", "samples"), [(KALDI, 0), (KALDI, 399), (mel(), 0), (mel(), 1), (mel(), 159)])
def test_too_short_a_wave_gives_no_frame(config, samples, norm):
    config = FrontendConfig(**{**vars(config), "norm": norm})
    for width in (samples, 2000):
        y, frames = features(config, torch.full((1, width), 0.5), [samples])
        assert frames.tolist() == [0]
        assert (y == 0).all()


def test_wave_scale_shifts_every_bin():
    x = wave("noise")
    loud, _ = features(KALDI, x)
    soft, _ = features(FrontendConfig(**{**vars(KALDI), "wave_scale": 1.0}), x)
    close(loud - soft, torch.full_like(loud, 2 * math.log(32768)), atol=1e-3, rtol=0)


def test_bfloat16_autocast_leaves_the_features_exact():
    x = wave("noise")
    with torch.autocast("cpu", torch.bfloat16):
        y, _ = features(KALDI, x)
    assert torch.equal(y, features(KALDI, x)[0])
