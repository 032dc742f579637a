"""There is one attention: a walk over the source finds no second one."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SDPA = "scaled_dot_product_attention"
SOFTMAX = {"softmax", "Softmax", "log_softmax", "LogSoftmax", "softmin", "gumbel_softmax", "_softmax"}
FOREIGN = {
    "MultiheadAttention",
    "multi_head_attention_forward",
    "flex_attention",
    "Transformer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
}
OUTPUT_DISTRIBUTIONS = {
    ("speech/models/ctc.py", "log_softmax"),
    ("speech/models/aligner.py", "log_softmax"),
    ("speech/models/aed.py", "log_softmax"),
    ("speech/models/step.py", "log_softmax"),
    ("speech/training/aligner_task.py", "log_softmax"),
}


def uses(tree: ast.AST, names: set[str], function: str = "") -> list[tuple[str, str]]:
    """(enclosing function, name) of every place that mentions one of `names`."""
    found = []
    for node in ast.iter_child_nodes(tree):
        inner = node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else function
        mentioned = [getattr(node, field, None) for field in ("id", "attr", "name", "value")]
        found += [(inner, name) for name in mentioned if isinstance(name, str) and name.split(".")[-1] in names]
        found += uses(node, names, inner)
    return found


def source_uses(names: set[str]) -> list[tuple[str, str, str]]:
    paths = sorted(path for room in ("speech", "recipes") for path in (ROOT / room).rglob("*.py"))
    assert len(paths) > 20
    return [
        (path.relative_to(ROOT).as_posix(), *use) for path in paths for use in uses(ast.parse(path.read_text()), names)
    ]


@pytest.mark.parametrize(
    "line",
    ["F.softmax(x, -1)", "x.softmax(-1)", "from torch import softmax as s", "nn.Softmax(1)", "getattr(F, 'softmax')"],
)
def test_the_walk_sees_every_spelling(line):
    assert len(uses(ast.parse(f"def f():\n    {line}"), SOFTMAX)) == 1


def test_scaled_dot_product_attention_is_called_in_attend_alone():
    assert source_uses({SDPA}) == [("speech/nn/attention.py", "attend", SDPA)]


def test_softmax_serves_output_distributions_only():
    assert {(path, name) for path, _, name in source_uses(SOFTMAX)} == OUTPUT_DISTRIBUTIONS


def test_no_foreign_attention():
    assert source_uses(FOREIGN) == []
