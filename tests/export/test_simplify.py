"""Reshapes of a graph go by constants wherever shapes tell enough, and still fit every length."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from export.graph import Input, save_graph


class Regroup(nn.Module):
    """x [N, T, 6] and m [M]: heads and back, rows of N / M neighbours and back."""

    def forward(self, x: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
        heads = x.unflatten(-1, (3, 2)).transpose(1, 2)
        grouped = x.reshape(m.size(0), -1, 6)
        return heads.transpose(1, 2).flatten(2) * 2, (grouped + m[:, None, None]).view_as(x)


@pytest.mark.parametrize("rows,steps,groups", [(6, 2, 3), (1, 1, 1), (4, 5, 2), (3, 7, 1)])
def test_reshapes_fit_every_length(tmp_path, rows, steps, groups):
    inputs = [
        Input("x", torch.zeros(6, 2, 6), {0: "rows", 1: "steps"}),
        Input("m", torch.zeros(3), {0: "groups"}),
    ]
    path = tmp_path / "decoder.onnx"
    save_graph(Regroup(), inputs, ["doubled", "added"], path)
    nodes = onnx.load(path).graph.node
    computed = {out for node in nodes for out in node.output}
    shapes = [node.input[1] in computed for node in nodes if node.op_type == "Reshape"]
    assert sorted(shapes) == [False, False, True, True]  # regrouping: groups and rows are no dimension of its input

    x, m = np.random.default_rng(0).normal(size=(rows, steps, 6)).astype("f"), np.arange(groups, dtype="f")
    doubled, added = ort.InferenceSession(path).run(None, {"x": x, "m": m})
    np.testing.assert_allclose(doubled, 2 * x, rtol=1e-6)
    np.testing.assert_allclose(added, x + m.repeat(rows // groups)[:, None, None], rtol=1e-6)
