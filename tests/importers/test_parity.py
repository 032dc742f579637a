"""Ours == the original implementations, on every reference case below SPEECH_FIXTURES."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from exports import CASES
from safetensors.torch import load_file

from export.check import check
from serve.transcriber import OnnxTranscriber
from speech.importers import canary, firered
from speech.models.step import TorchStep
from speech.recognizer import load_model
from speech.request import UNGUARDED
from speech.search.beam import BeamOptions, beam_search
from speech.transcriber import FirstStep

pytestmark = pytest.mark.skipif(not CASES, reason="SPEECH_FIXTURES is unset or has no case.json")


class Case:
    def __init__(self, folder: Path):
        self.folder, self.facts = folder, json.loads((folder / "case.json").read_text())
        self.tensors = load_file(folder / "case.safetensors")
        self.firered = (folder / "model.pth.tar").exists()
        read, source = (firered.read, folder) if self.firered else (canary.read, folder / "model.nemo")
        self.model, self.tokenizer, self.generation = read(source)

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.tensors[name]

    @property
    def features(self) -> tuple[torch.Tensor, torch.Tensor]:  # [B, T, F], lengths
        if self.firered:
            return self["features"], self["feature_lengths"]
        return self["mel"].transpose(1, 2), self["mel_lengths"]

    def prompt(self, i: int) -> list[int]:
        if self.firered:
            return [self.facts["special_ids"]["sos"]]
        return self["decoder_input_ids"][i, : int(self["prompt_lengths"][i])].tolist()

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


def options_of(case, search: dict, prompt: int) -> BeamOptions:
    eos, size = case.facts["special_ids"]["eos"], search.get("beam_size", 1)
    common = dict(eos=eos, size=size, n_best=search.get("nbest", size), length_penalty=search["length_penalty"])
    if case.firered:
        smoothing, penalty = search["softmax_smoothing"], search["eos_penalty"]
        return BeamOptions(**common, temperature=smoothing, eos_penalty=penalty, ended_stay=True)
    return BeamOptions(**common, length_offset=prompt, ended_stay=True, rank_normalised=True)


def searches(case):
    decoding = case.facts["decoding"] if "decoding" in case.facts else case.facts
    return decoding["searches"].items()


@torch.no_grad()
def torch_step(case, rows: list[int]) -> TorchStep:
    features, lengths = case.features
    n = int(lengths[rows].max())
    return TorchStep(case.model, case.model.encode_features(features[rows][:, :n], lengths[rows]))


def search_for(case, step: FirstStep, rows: list[int], search: dict):
    prompts = [case.prompt(i) for i in rows]
    scores, state = step.first(np.array(prompts))
    frames = case["encoder_lengths"][rows].numpy()
    most = search.get("decode_max_len") or None
    caps = np.full(len(rows), most) if most else (frames if case.firered else frames + 50 - len(prompts[0]))
    return beam_search(step, scores, state, options_of(case, search, len(prompts[0])), caps, [])


@pytest.mark.parametrize("together", [False, True])
def test_searches(case, together):
    """Ids and scores of every hypothesis of every search, one by one and in a batch."""
    compare(case, partial(torch_step, case), together)


@pytest.fixture(scope="module")
def folders(case, reference) -> tuple[Path, Path]:
    """Our model folder and its graphs; sound goes in as it is."""
    return reference(case.folder.name) / "model", reference(case.folder.name) / "onnx"


@pytest.fixture(scope="module")
def runtime(folders) -> OnnxTranscriber:
    return OnnxTranscriber(folders[1], "cpu", threads=1)


def waveforms(case, rows: list[int]) -> list[np.ndarray]:
    scale = 32768 if case["waveform"].dtype == torch.int16 else 1
    return [(case["waveform"][i, : case["waveform_lengths"][i]].float() / scale).numpy() for i in rows]


@pytest.mark.parametrize("together", [False, True])
def test_exported_graphs_search_alike(case, runtime, together):
    compare(case, lambda rows: runtime.step(runtime.encode(waveforms(case, rows))), together)


def test_exported_graphs_pass_their_check(folders):
    wrong = [(what, fault) for what, fault in check(folders[0], folders[1], [], [], None) if fault]
    assert not wrong


def test_the_runtime_attends_where_torch_does(case, folders, runtime):
    """For the times of words, of one row of a batch."""
    torch_model = load_model(folders[0], "cpu")
    batch, prompt = waveforms(case, [0, 1, 2]), case.prompt(1)
    tokens = list(range(5, 15))
    found, truth = (m.cross_attention(m.encode(batch), 1, prompt, tokens) for m in (runtime, torch_model))
    assert found.shape == truth.shape == (len(truth), len(tokens), int(case["encoder_lengths"][1]))
    np.testing.assert_allclose(found, truth, atol=1e-5)
    asked = dict(sampling_rate=16000, word_timestamps=True, **UNGUARDED)
    for ours, theirs in zip(*(m.transcribe(batch, **asked) for m in (runtime, torch_model)), strict=True):
        words = [[(w.word, w.start, w.end) for s in one.segments for w in s.words] for one in (ours, theirs)]
        assert words[0] == words[1] != []


def compare(case, make_step: Callable[[list[int]], FirstStep], together: bool) -> None:
    for name, search in searches(case):
        expected = search["utterances"]
        rows = list(range(len(expected)))
        lengths = [len(case.prompt(i)) for i in rows]
        # prompts of a batch are equally long
        alike = [[i for i in rows if lengths[i] == n] for n in sorted(set(lengths))]
        groups = alike if together else [[i] for i in rows]
        found = {}
        for group in groups:
            found |= dict(zip(group, search_for(case, make_step(group), group, search), strict=True))
        for i, hypotheses in enumerate(expected):
            assert [h.tokens for h in found[i]] == [h["ids"] for h in hypotheses], (name, i)
            for ours, theirs in zip(found[i], hypotheses, strict=True):
                assert ours.log_prob == pytest.approx(theirs["log_prob_sum"], abs=case.tolerance("score")), (name, i)
                assert ours.score == pytest.approx(theirs["score"], abs=case.tolerance("score")), (name, i)
