"""Graphs have fewer nodes than torch's, compute the same, and still fit every length."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from export.graph import Input, save_graph


class Regroup(nn.Module):
    """x [N, T, 6] and m [M]: heads and back, with something between and with nothing, rows of N / M neighbours and
    back."""

    def forward(self, x: Tensor, m: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        heads = x.unflatten(-1, (3, 2)).transpose(1, 2)
        scaled = (heads * torch.tensor([1.0, 2.0, 3.0])[:, None, None]).transpose(1, 2).flatten(2)
        grouped = x.reshape(m.size(0), -1, 6)
        apart = (x + 1).unflatten(-1, (3, 2)).transpose(1, 2)
        return apart.transpose(1, 2).flatten(2), scaled, grouped.view_as(x) - x + apart.transpose(1, 2).flatten(2)


class Residual(nn.Module):
    """x [N, T, 4]: a sum that a layer norm takes and that goes on, by a product with a bias and by one without, and
    one with a row for all, which the merged node would not take."""

    def __init__(self, dtype: torch.dtype):
        super().__init__()
        self.a, self.b, self.norm = nn.Linear(4, 4), nn.Linear(4, 4, bias=False), nn.LayerNorm(4)
        self.row = nn.Parameter(torch.zeros(1, 1, 4))
        for weight in self.to(dtype).parameters():
            nn.init.normal_(weight)

    def forward(self, x: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
        y = x + self.a(x.reshape(m.size(0), -1, 4)).view_as(x)
        z = self.b(self.norm(y)) + y
        return self.norm(z), z + self.norm(x + self.row)


def saved(module: nn.Module, x: Tensor, names: list[str], path: Path) -> Counter:
    """Operators of the graph."""
    inputs = [Input("x", x, {0: "rows", 1: "steps"}), Input("m", torch.zeros(3), {0: "groups"})]
    save_graph(module, inputs, names, path)
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def run(path: Path, x: np.ndarray, groups: int) -> list[np.ndarray]:
    return ort.InferenceSession(path).run(None, {"x": x, "m": np.zeros(groups, "f")})


@pytest.fixture(scope="module")
def regrouped(tmp_path_factory) -> tuple[Path, Counter]:
    path = tmp_path_factory.mktemp("regrouped") / "decoder.onnx"
    return path, saved(Regroup(), torch.zeros(6, 2, 6), ["same", "scaled", "sum"], path)


def test_what_undoes_itself_goes_and_shapes_are_constants(regrouped):
    path, found = regrouped
    graph = onnx.load(path).graph
    computed = {out for node in graph.node for out in node.output}
    shapes = [node.input[1] in computed for node in graph.node if node.op_type == "Reshape"]
    assert sorted(shapes) == [False, False, True, True]  # regrouping: groups and rows are no dimension of its input
    assert found["Transpose"] == 2 and [out.name for out in graph.output] == ["same", "scaled", "sum"]


@pytest.mark.parametrize("rows,steps,groups", [(6, 2, 3), (1, 1, 1), (4, 5, 2), (3, 7, 1)])
def test_reshapes_fit_every_length(regrouped, rows, steps, groups):
    x = np.random.default_rng(0).normal(size=(rows, steps, 6)).astype("f")
    same, scaled, total = run(regrouped[0], x, groups)
    np.testing.assert_allclose(same, x + 1, rtol=1e-6)
    np.testing.assert_allclose(scaled, x * np.repeat([1, 2, 3], 2), rtol=1e-6)
    np.testing.assert_allclose(total, x + 1, rtol=1e-6)


def test_a_sum_and_its_norm_are_one_node(tmp_path):
    path, module = tmp_path / "decoder.onnx", Residual(torch.float32)
    found = saved(module, torch.zeros(6, 2, 4), ["normed", "summed"], path)
    assert found["SkipLayerNormalization"] == 2 and found["LayerNormalization"] == 1 and found["Add"] == 2
    for rows, steps, groups in ((6, 2, 3), (1, 1, 1), (4, 5, 2)):
        x = np.random.default_rng(0).normal(size=(rows, steps, 4)).astype("f")
        with torch.inference_mode():
            truth = module(torch.from_numpy(x), torch.zeros(groups))
        for theirs, ours in zip(truth, run(path, x, groups), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_in_16_bits_they_stay_apart(tmp_path):
    x = torch.zeros(6, 2, 4, dtype=torch.float16)
    found = saved(Residual(torch.float16), x, ["normed", "summed"], tmp_path / "decoder.onnx")
    assert found["LayerNormalization"] == 3 and not found["SkipLayerNormalization"]
