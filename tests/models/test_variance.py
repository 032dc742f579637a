import torch
import torch.nn.functional as F
from tiny import lively

from speech.models.variance import Predictor, ValueEmbedding
from speech.nn.masks import valid
from speech.nn.tts_config import FastSpeechConfig

close = torch.testing.assert_close
CONFIG = FastSpeechConfig(d_model=8, predictor_filters=6)


def test_predictor_is_its_formula():
    model, x = lively(Predictor(CONFIG, 2)), torch.randn(2, 9, 8)
    y = x
    for conv, norm in zip(model.convs, model.norms, strict=True):
        y = F.conv1d(y.transpose(1, 2), conv.weight, conv.bias, padding=1).relu().transpose(1, 2)
        y = F.layer_norm(y, [6], norm.weight, norm.bias)
    close(model(x, torch.ones(2, 9, dtype=torch.bool)), F.linear(y, model.out.weight, model.out.bias))


def test_padding_enters_nothing_and_comes_out_as_zero():
    model, lengths = lively(Predictor(CONFIG)), torch.tensor([9, 5, 1])
    x, keep = torch.randn(3, 12, 8), valid(lengths, 12)
    y = model(x, keep)
    assert (y[~keep] == 0).all() and (y[keep] != 0).all()
    for i, n in enumerate(lengths):
        close(y[i : i + 1, :n], model(x[i : i + 1, :n], keep[i : i + 1, :n]))


def test_a_value_reaches_its_neighbours_only():
    model = ValueEmbedding(8)
    values = torch.zeros(1, 7)
    values[0, 3] = 1.0
    reached = (model(values) - model(torch.zeros(1, 7))).abs().sum(-1)[0] > 0
    assert reached.tolist() == [False, False, True, True, True, False, False]
