import torch

from speech.nn.masks import causal_mask, length_mask, valid


def test_valid_marks_real_frames():
    lengths = torch.tensor([0, 2, 3])
    expected = torch.tensor([[0, 0, 0], [1, 1, 0], [1, 1, 1]]).bool()
    assert torch.equal(valid(lengths, 3), expected)
    assert torch.equal(length_mask(lengths, 3), expected[:, None, None])


def test_causal_mask_hides_what_is_later():
    assert torch.equal(causal_mask(4, 4), torch.ones(4, 4).tril().bool()[None, None])


def test_causal_mask_with_a_past_is_the_end_of_the_whole_mask():
    for queries in range(1, 6):
        assert torch.equal(causal_mask(queries, 5), causal_mask(5, 5)[:, :, 5 - queries :])
