"""Weights outside a graph's file: inside a plain file beside it, or not at all."""

import os
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from serve.external import check_external
from serve.sessions import CPU, Session
from speech.errors import SpeechError

SIZE = 16
GOOD = {"location": "weights", "offset": "4", "length": "8"}


def tensor(place: dict[str, str]) -> TensorProto:
    made = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2])
    made.data_location = TensorProto.EXTERNAL
    for key, value in place.items():
        made.external_data.add(key=key, value=value)
    return made


def graph(nodes=(), initializers=()) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "g", [], [helper.make_empty_tensor_value_info("w")], list(initializers))


def constant(place: dict[str, str]) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["w"], value=tensor(place))


def sparse(place: dict[str, str]) -> onnx.SparseTensorProto:
    return onnx.SparseTensorProto(values=tensor(place), indices=tensor(GOOD), dims=[4])


def plain(place: dict[str, str]) -> onnx.ModelProto:
    return helper.make_model(graph(initializers=[tensor(place)]))


def deep(place: dict[str, str]) -> onnx.ModelProto:
    inner = graph([constant(place)])
    for _ in range(3):
        inner = graph([helper.make_node("If", ["c"], ["w"], then_branch=inner, else_branch=graph())])
    return helper.make_model(inner)


def function(place: dict[str, str]) -> onnx.ModelProto:
    made = helper.make_function("own", "f", [], ["w"], [constant(place)], [helper.make_opsetid("", 23)])
    return helper.make_model(graph(), functions=[made])


def default(place: dict[str, str]) -> onnx.ModelProto:
    value = helper.make_attribute("value", tensor(place))
    node = helper.make_node("Constant", [], ["w"])
    opsets = [helper.make_opsetid("", 23)]
    made = helper.make_function("own", "f", [], ["w"], [node], opsets, attribute_protos=[value])
    return helper.make_model(graph(), functions=[made])


def attribute(place: dict[str, str]) -> onnx.ModelProto:
    return helper.make_model(graph([helper.make_node("X", [], ["w"], a=[tensor(GOOD), tensor(place)])]))


def in_sparse(place: dict[str, str]) -> onnx.ModelProto:
    made = graph([helper.make_node("Constant", [], ["w"], sparse_value=sparse(place))])
    made.sparse_initializer.append(sparse(place))
    return helper.make_model(made)


def training(place: dict[str, str]) -> onnx.ModelProto:
    made = helper.make_model(graph())
    made.training_info.add(algorithm=graph(initializers=[tensor(place)]))
    return made


EVERYWHERE = [plain, deep, function, default, attribute, in_sparse, training]


@pytest.fixture
def save(tmp_path: Path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_bytes(bytes(SIZE))
    (tmp_path / "secret").write_bytes(bytes(SIZE))

    def save(model: onnx.ModelProto) -> Path:
        (folder / "x.onnx").write_bytes(model.SerializeToString())
        return folder / "x.onnx"

    return save


@pytest.mark.parametrize("make", EVERYWHERE)
def test_a_plain_file_beside_the_graph_may_hold_weights(save, make):
    check_external(save(make(GOOD)))
    check_external(save(make({"location": "weights"})))


@pytest.mark.parametrize("make", EVERYWHERE)
def test_no_part_of_a_graph_names_a_file_elsewhere(save, make):
    with pytest.raises(SpeechError, match="only a file beside the graph"):
        check_external(save(make({**GOOD, "location": "../secret"})))


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "a/../weights", "..", ".", "", "..\\secret", "weights\0x"]
)
def test_only_a_bare_name_is_taken(save, name):
    with pytest.raises(SpeechError, match="only a file beside the graph"):
        check_external(save(plain({**GOOD, "location": name})))


def test_a_place_without_a_name_is_refused(save):
    with pytest.raises(SpeechError, match="only a file beside the graph"):
        check_external(save(plain({})))


@pytest.mark.parametrize("kind", ["symlink", "hard link", "fifo", "directory"])
def test_links_and_what_is_no_file_are_refused(save, tmp_path, kind):
    at = tmp_path / "model" / "other"
    if kind == "symlink":
        at.symlink_to(tmp_path / "secret")
    elif kind == "hard link":
        os.link(tmp_path / "secret", at)
    elif kind == "fifo":
        os.mkfifo(at)
    else:
        at.mkdir()
    with pytest.raises(SpeechError, match="link or no plain file"):
        check_external(save(plain({**GOOD, "location": "other"})))


def test_a_missing_file_is_named(save):
    with pytest.raises(SpeechError, match="model/gone is missing"):
        check_external(save(plain({**GOOD, "location": "gone"})))


@pytest.mark.parametrize("place", [{"offset": "12"}, {"offset": "-4"}, {"length": "-8"}, {"length": str(1 << 70)}])
def test_no_byte_outside_the_file_is_asked_for(save, place):
    with pytest.raises(SpeechError, match="is cut off"):
        check_external(save(plain({**GOOD, **place})))


@pytest.mark.parametrize("place", [{"offset": "x"}, {"length": "1e9"}])
def test_numbers_that_are_none(save, place):
    with pytest.raises(SpeechError, match="broken"):
        check_external(save(plain({**GOOD, **place})))


def test_every_cut_of_a_file_is_refused_or_harmless(save):
    """Whatever remains of a graph that names a secret: never a traceback of our own."""
    path = save(deep({**GOOD, "location": "../secret"}))
    whole, refused = path.read_bytes(), 0
    for n in range(len(whole)):
        path.write_bytes(whole[:n])
        try:
            check_external(path)
        except SpeechError:
            refused += 1
    assert refused > 0.9 * len(whole)
    path.write_bytes(b"\x0a" * 200)
    with pytest.raises(SpeechError, match="broken"):
        check_external(path)


def test_graphs_in_graphs_end_somewhere(save):
    inner = graph()
    for _ in range(30):
        inner = graph([helper.make_node("If", ["c"], ["w"], then_branch=inner)])
    with pytest.raises(SpeechError, match="too deep"):
        check_external(save(helper.make_model(inner)))


def test_a_session_looks_before_it_opens(save):
    with pytest.raises(SpeechError, match="only a file beside the graph"):
        Session(save(plain({**GOOD, "location": "../secret"})), CPU)
