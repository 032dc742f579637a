import numpy as np
import pytest
import torch

from speech.models.step import TorchStep

V = 29


@pytest.fixture
def encoded(aed):
    waveforms = 0.1 * torch.randn(3, 9000, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return aed.encode(waveforms, torch.tensor([9000, 5000, 7000]))


def full(aed, encoded, utterance: int, tokens: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities and attention after the last token, by one pass over the whole sequence."""
    memory = [type(kv)(kv.k[[utterance]], kv.v[[utterance]]) for kv in encoded.memory]
    with torch.inference_mode():
        out = aed.decoder(torch.tensor([tokens]), memory, encoded.mask[[utterance]], with_attention=True)
    return out.logits[0, -1].log_softmax(-1)[:V].numpy(), out.attention[0, -1].numpy()


def test_steps_equal_the_full_pass_after_reordering_and_dropping(aed, encoded):
    step = TorchStep(aed, encoded, with_attention=True)
    prompts = np.array([[3, 4], [3, 5], [3, 6]])
    scores, state = step.first(prompts)
    assert scores.log_probs.shape == (3, V) and scores.log_probs.dtype == np.float32 and scores.ids is None
    rows = [(i, prompt.tolist()) for i, prompt in enumerate(prompts)]
    # two beams for utterances 0 and 2, swapped, copied, kept, unevenly many, then utterance 2 in four rows and in one
    moves = [([0, 0, 2, 2], [7, 8, 9, 10]), ([1, 0, 3, 2], [11, 12, 13, 14]), ([1, 1, 2, 2], [1, 2, 3, 4])]
    moves += [([0, 1, 2, 3], [19, 20, 21, 22]), ([0, 2, 3], [23, 24, 25])]
    moves += [([1, 2, 1, 2], [15, 16, 17, 18]), ([3], [5])]
    for parents, tokens in [(None, None), *moves]:
        if parents is not None:
            scores, state = step(np.array(tokens), np.array(parents), state)
            rows = [(rows[p][0], [*rows[p][1], t]) for p, t in zip(parents, tokens, strict=True)]
        assert len(scores.log_probs) == len(rows)
        for i, (utterance, sequence) in enumerate(rows):
            log_probs, attention = full(aed, encoded, utterance, sequence)
            np.testing.assert_allclose(scores.log_probs[i], log_probs, atol=1e-4)
            np.testing.assert_allclose(scores.attention[i], attention, atol=1e-5)
    assert rows == [(2, [3, 6, 10, 13, 4, 22, 25, 18, 5])]


def test_the_beams_of_an_utterance_share_its_memory(aed, encoded):
    step = TorchStep(aed, encoded)
    _, state = step.first(np.array([[3]] * 3))
    _, state = step(np.arange(6), np.arange(3).repeat(2), state)
    assert all(kv.k is ours.k and kv.v is ours.v for kv, ours in zip(state.memory, encoded.memory, strict=True))
    _, state = step(np.arange(4), np.array([1, 0, 5, 4]), state)
    assert [kv.k.size(0) for kv in state.memory] == [2] * len(encoded.memory) and state.owner.tolist() == [0, 2]


def test_without_padding_no_step_looks_at_a_mask(aed, encoded):
    assert TorchStep(aed, encoded).first(np.array([[3]] * 3))[1].mask is encoded.mask
    alike = encoded._replace(mask=torch.ones_like(encoded.mask))
    step = TorchStep(aed, alike)
    _, state = step.first(np.array([[3]] * 3))
    assert state.mask is None and step(np.array([5]), np.array([1]), state)[1].mask is None


def test_scores_are_those_of_the_true_vocabulary_in_a_distribution_over_the_padded_one(aed, encoded):
    scores, _ = TorchStep(aed, encoded).first(np.array([[3]] * 3))
    assert scores.log_probs.shape == (3, V)
    padded = aed.decoder.embed.num_embeddings > V
    total = np.exp(scores.log_probs.astype(np.float64)).sum(1)
    assert (total < 1).all() if padded else total == pytest.approx(1, abs=1e-5)
    assert scores.attention is None


def test_a_state_can_be_used_twice(aed, encoded):
    step = TorchStep(aed, encoded)
    _, state = step.first(np.array([[3]] * 3))
    first, _ = step(np.array([7, 8, 9]), np.arange(3), state)
    step(np.array([1, 2]), np.array([2, 0]), state)
    again, _ = step(np.array([7, 8, 9]), np.arange(3), state)
    np.testing.assert_array_equal(first.log_probs, again.log_probs)
