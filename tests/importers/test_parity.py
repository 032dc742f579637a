"""Ours == the original implementations, on every reference case below SPEECH_FIXTURES."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from speech.importers import canary, firered
from speech.models.aed import AED

ROOT = os.environ.get("SPEECH_FIXTURES")
CASES = sorted(path.parent for path in Path(ROOT).glob("*/case.json")) if ROOT else []
pytestmark = pytest.mark.skipif(not CASES, reason="SPEECH_FIXTURES is unset or has no case.json")


class Case:
    def __init__(self, folder: Path):
        self.folder, self.facts = folder, json.loads((folder / "case.json").read_text())
        self.tensors = load_file(folder / "case.safetensors")
        self.firered = (folder / "model.pth.tar").exists()
        self.model: AED = firered.read_model(folder) if self.firered else canary.read_model(folder / "model.nemo")

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.tensors[name]

    @property
    def features(self) -> tuple[torch.Tensor, torch.Tensor]:  # [B, T, F], lengths
        if self.firered:
            return self["features"], self["feature_lengths"]
        return self["mel"].transpose(1, 2), self["mel_lengths"]

    def tolerance(self, name: str) -> float:
        return self.facts["tolerance"][name]


@pytest.fixture(scope="module", params=CASES, ids=lambda path: path.name)
def case(request) -> Case:
    torch.set_num_threads(1)
    return Case(request.param)


def close(ours: torch.Tensor, theirs: torch.Tensor, lengths: torch.Tensor, atol: float) -> None:
    for a, b, n in zip(ours, theirs, lengths.tolist(), strict=True):
        torch.testing.assert_close(a[:n], b[:n], rtol=0, atol=atol)


@torch.no_grad()
def test_features(case):
    waveforms = case["waveform"].float() / (32768 if case["waveform"].dtype == torch.int16 else 1)
    ours, lengths = case.model.frontend(waveforms, case["waveform_lengths"])
    theirs, expected = case.features
    assert lengths.tolist() == expected.tolist()
    bound = case.tolerance("fbank" if case.firered else "mel")
    for a, b, n in zip(ours, theirs, lengths.tolist(), strict=True):
        difference = (a[:n] - b[:n]).abs()
        if case.firered:  # the tolerance is that of the values before normalisation
            difference = difference / case.model.frontend.inv_std
        assert difference.max() <= bound["max_abs"] and difference.mean() <= bound["mean_abs"]


@torch.no_grad()
def test_encoder(case):
    encoded, lengths = case.model.encoder(*case.features)
    assert lengths.tolist() == case["encoder_lengths"].tolist()
    close(encoded, case["encoder_out" if case.firered else "encoder_raw"], lengths, 1e-5)
    if not case.firered:
        close(case.model.enc_proj(encoded), case["encoder_out"], lengths, case.tolerance("encoder_out"))


@torch.no_grad()
def test_decoder(case):
    encoded = case.model.encode_features(*case.features)
    ids = case["decoder_input_ids"]
    logits = case.model.decoder(ids, encoded.memory, encoded.mask).logits
    if case.firered:
        lengths = (ids != case.facts["special_ids"]["pad"]).sum(1)
        close(logits, case["logits"], lengths, case.tolerance("logits"))
    else:
        close(logits.log_softmax(-1), case["log_probs"], case["decoder_input_lengths"], case.tolerance("log_probs"))


@torch.no_grad()
def test_a_clip_alone_is_the_clip_in_the_batch(case):
    features, lengths = case.features
    together, frames = case.model.encoder(features, lengths)
    for i, n in enumerate(lengths.tolist()):
        alone, _ = case.model.encoder(features[i : i + 1, :n], lengths[i : i + 1])
        torch.testing.assert_close(alone[0, : frames[i]], together[i, : frames[i]], rtol=0, atol=1e-5)
