import torch

from speech.models.even_prior import even_prior


def prior(levels: list[list[float]], texts: list[int], factor: int = 1) -> torch.Tensor:
    """Of utterances given by how loud their frames are."""
    lengths = torch.tensor([len(row) for row in levels])
    features = torch.nn.utils.rnn.pad_sequence([torch.tensor(row)[:, None].expand(-1, 4) for row in levels], True)
    return even_prior(features, lengths, int(lengths.max()) // factor, factor, torch.tensor(texts))


def test_the_tokens_share_the_loud_frames_alone():
    found = prior([[-1.0] * 10 + [1.0] * 8 + [-1.0] * 10 + [1.0] * 8 + [-1.0] * 4], [4])[0]
    likeliest = [0] * 4 + [1] * 4, [2] * 4 + [3] * 4
    assert found[10:18].argmax(-1).tolist() == likeliest[0] and found[28:36].argmax(-1).tolist() == likeliest[1]
    assert found[:10].argmax(-1).eq(0).all() and found[36:].argmax(-1).eq(3).all()
    assert found.amax(-1).eq(0).all() and found[10, 3] < -4


def test_a_frame_of_the_encoder_stands_for_its_features():
    loud = [-1.0] * 16 + [1.0] * 32 + [-1.0] * 16
    assert prior([loud], [4], factor=8)[0].argmax(-1).tolist() == [0, 0, 0, 1, 2, 3, 3, 3]


def test_neighbours_in_the_batch_change_nothing():
    a, b = [-1.0] * 5 + [1.0] * 20, [0.5] * 12  # the second is all alike: even over every frame
    both = prior([a, b], [5, 3])
    torch.testing.assert_close(both[0], prior([a], [5])[0])
    torch.testing.assert_close(both[1, :12, :3], prior([b], [3])[0])
    assert both[1, :12, :3].argmax(-1).tolist() == [0] * 4 + [1] * 4 + [2] * 4
