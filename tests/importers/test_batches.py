"""A batch of eight recordings of mixed lengths == the eight alone, in both families, greedy and with a beam."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from speech.importers.convert import convert
from speech.recognizer import Recognizer, load_model
from speech.request import WORD_TIMES

ROOT = os.environ.get("SPEECH_FIXTURES")
CASES = sorted(path.parent for path in Path(ROOT).glob("*/case.json")) if ROOT else []
pytestmark = pytest.mark.skipif(not CASES, reason="SPEECH_FIXTURES is unset or has no case.json")
LENGTHS = (1.0, 0.31, 0.77, 0.5, 0.93, 0.4, 0.62, 0.25)  # of a recording of the case


@pytest.fixture(scope="module", params=CASES, ids=lambda path: path.name)
def model_and_sounds(request, tmp_path_factory) -> tuple[Recognizer, list[np.ndarray]]:
    firered = (request.param / "model.pth.tar").exists()
    out = tmp_path_factory.mktemp(request.param.name) / "model"
    source = request.param if firered else request.param / "model.nemo"
    convert("firered" if firered else "canary", source, out)
    read = [sf.read(path, dtype="float32") for path in sorted((request.param / "wav").iterdir())]
    sounds = [read[i % len(read)][0] for i in range(len(LENGTHS))]
    cut = [x[: round(share * len(x))] for x, share in zip(sounds, LENGTHS, strict=True)]
    model = load_model(out, "cpu")
    assert all(rate == model.sample_rate for _, rate in read)
    return model, cut


@pytest.mark.parametrize("beam_size", [1, 4])
def test_eight_together_are_eight_alone(model_and_sounds, beam_size):
    model, sounds = model_and_sounds
    for how in ("attention", *(how for how in WORD_TIMES if how == "ctc" and model.has_ctc)):
        asked = dict(sampling_rate=model.sample_rate, beam_size=beam_size, word_timestamps=True, word_times=how)
        together = model.transcribe(sounds, batch_size=8, **asked)
        alone = [model.transcribe(x, **asked) for x in sounds]
        assert [t.text for t in together] == [t.text for t in alone]
        for one, other in zip(together, alone, strict=True):
            assert [s.tokens for s in one.segments] == [s.tokens for s in other.segments]
            assert [(w.start, w.end) for w in one.words] == [(w.start, w.end) for w in other.words]
            for a, b in zip(one.segments, other.segments, strict=True):
                assert a.token_logprobs == pytest.approx(b.token_logprobs, abs=1e-4)
    assert len({t.text for t in alone}) > 2
