"""The runtime's step of the search == torch's, whatever rows go on."""

import numpy as np
import pytest
import torch

from export.aed import cache_names, flat_pairs
from serve.sessions import CPU, Session
from serve.step import ROOM, Decoder, Step
from speech.folder import load_folder
from speech.models.step import TorchStep


@pytest.fixture
def both(tiny_model, exported):
    model = load_folder(tiny_model).model
    waveforms = 0.1 * torch.randn(3, 16000, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        encoded = model.encode(waveforms, torch.tensor([16000, 5000, 11001]))
    names = cache_names("cross", len(encoded.memory))
    memory = {name: x.numpy() for name, x in zip(names, flat_pairs(encoded.memory), strict=True)}
    decoder = Decoder(Session(exported / "decoder.onnx", CPU, 1), Session(exported / "gather.onnx", CPU, 1))
    return TorchStep(model, encoded), Step(decoder, memory, encoded.lengths.numpy())


def test_steps_equal_torch_after_reordering_dropping_and_unequal_groups(both):
    theirs, ours = both
    prompts = np.array([[3, 4], [3, 5], [3, 6]])
    moves = [([0, 0, 2, 2], [7, 8, 9, 10]), ([1, 0, 3, 2], [11, 12, 13, 14]), ([0, 1, 2, 3], [19, 20, 21, 22])]
    moves += [([0, 2, 3], [23, 24, 25]), ([1, 2, 1, 2], [15, 16, 17, 18]), ([3], [5]), ([0], [6])]
    (expected, their_state), (found, our_state) = theirs.first(prompts), ours.first(prompts)
    np.testing.assert_allclose(found.log_probs, expected.log_probs, atol=1e-5)
    for parents, tokens in moves:
        rows = np.array(tokens), np.array(parents)
        (expected, their_state), (found, our_state) = theirs(*rows, their_state), ours(*rows, our_state)
        np.testing.assert_allclose(found.log_probs, expected.log_probs, atol=1e-5)
        assert our_state.owner.tolist() == their_state.owner.tolist()


@pytest.mark.parametrize("prompt", [ROOM - 2, ROOM - 1, ROOM, ROOM + 3])
def test_buffers_that_are_full_grow(both, prompt):
    theirs, ours = both
    prompts, rows = np.random.default_rng(0).integers(3, 20, (3, prompt)), np.arange(3)
    (expected, their_state), (found, our_state) = theirs.first(prompts), ours.first(prompts)
    rooms = {our_state.room}
    for token in range(4, 8):
        np.testing.assert_allclose(found.log_probs, expected.log_probs, atol=1e-5)
        tokens = np.full(3, token)
        (expected, their_state), (found, our_state) = theirs(tokens, rows, their_state), ours(tokens, rows, our_state)
        rooms.add(our_state.room)
    assert len(rooms) == (2 if prompt + 4 > ROOM > prompt else 1)


def test_several_tokens_at_once_grow_buffers_too(both):
    theirs, ours = both
    tokens = np.random.default_rng(1).integers(3, 20, (3, 2 * ROOM + 5))
    _, state = ours.first(tokens[:, :4])
    log_probs, state = ours.verify(tokens[:, 4:], 4, state)
    assert state.filled == 2 * ROOM + 5 <= state.room
    np.testing.assert_allclose(log_probs[:, -1], theirs.first(tokens)[0].log_probs, atol=1e-5)
