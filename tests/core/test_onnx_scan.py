"""The look into an ONNX file: finds tensor data kept elsewhere, wherever it hides."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import AttributeProto, ModelProto, SparseTensorProto, TensorProto, helper

from clin_edge.core import onnx_scan
from clin_edge.core.onnx_scan import has_external_data
from toy import toy_onnx, toy_onnx_proto


def outside(name: str = "w") -> TensorProto:
    """A tensor whose data lies in another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    return tensor


def inside(name: str = "w") -> TensorProto:
    return helper.make_tensor(name, TensorProto.FLOAT, [2], [1.0, 2.0])


def sparse(values: TensorProto, indices: TensorProto) -> SparseTensorProto:
    return SparseTensorProto(values=values, indices=indices, dims=[4])


def graph_with(tensor: TensorProto) -> onnx.GraphProto:
    return helper.make_graph([], "inner", [], [], [tensor])


def node_with(name: str, kind: int, **values: object) -> onnx.NodeProto:
    node = helper.make_node("Odd", [], ["y"])
    attribute = AttributeProto(name=name, type=kind)
    for field, value in values.items():
        target = getattr(attribute, field)
        if isinstance(value, list):
            target.extend(value)
        else:
            target.CopyFrom(value)
    node.attribute.append(attribute)
    return node


def in_initializer(model: ModelProto, tensor: TensorProto) -> None:
    model.graph.initializer.append(tensor)


def in_sparse_values(model: ModelProto, tensor: TensorProto) -> None:
    model.graph.sparse_initializer.append(sparse(tensor, inside("i")))


def in_sparse_indices(model: ModelProto, tensor: TensorProto) -> None:
    model.graph.sparse_initializer.append(sparse(inside("v"), tensor))


def in_attribute(model: ModelProto, tensor: TensorProto) -> None:
    model.graph.node.append(node_with("value", AttributeProto.TENSOR, t=tensor))


def in_attribute_list(model: ModelProto, tensor: TensorProto) -> None:
    tensors = [inside(), tensor]
    model.graph.node.append(node_with("values", AttributeProto.TENSORS, tensors=tensors))


def in_sparse_attribute(model: ModelProto, tensor: TensorProto) -> None:
    one = sparse(tensor, inside("i"))
    model.graph.node.append(node_with("s", AttributeProto.SPARSE_TENSOR, sparse_tensor=one))


def in_sparse_attribute_list(model: ModelProto, tensor: TensorProto) -> None:
    some = [sparse(inside("v"), tensor)]
    model.graph.node.append(node_with("s", AttributeProto.SPARSE_TENSORS, sparse_tensors=some))


def in_subgraph(model: ModelProto, tensor: TensorProto) -> None:
    branch = graph_with(tensor)
    model.graph.node.append(node_with("then_branch", AttributeProto.GRAPH, g=branch))


def in_subgraph_of_a_list(model: ModelProto, tensor: TensorProto) -> None:
    branches = [graph_with(inside()), graph_with(tensor)]
    model.graph.node.append(node_with("branches", AttributeProto.GRAPHS, graphs=branches))


def in_subgraph_of_a_subgraph(model: ModelProto, tensor: TensorProto) -> None:
    for _ in range(5):
        inner = ModelProto()
        in_subgraph(inner, tensor)
        branch = inner.graph
        model.graph.node.append(node_with("body", AttributeProto.GRAPH, g=branch))


def in_function(model: ModelProto, tensor: TensorProto) -> None:
    node = node_with("value", AttributeProto.TENSOR, t=tensor)
    model.functions.add(name="f", domain="d").node.append(node)


def in_default_of_a_function(model: ModelProto, tensor: TensorProto) -> None:
    attribute = AttributeProto(name="value", type=AttributeProto.TENSOR, t=tensor)
    model.functions.add(name="f", domain="d").attribute_proto.append(attribute)


def in_training(model: ModelProto, tensor: TensorProto) -> None:
    model.training_info.add().initialization.CopyFrom(graph_with(tensor))


def in_training_steps(model: ModelProto, tensor: TensorProto) -> None:
    model.training_info.add().algorithm.CopyFrom(graph_with(tensor))


PLACES = [
    in_initializer,
    in_sparse_values,
    in_sparse_indices,
    in_attribute,
    in_attribute_list,
    in_sparse_attribute,
    in_sparse_attribute_list,
    in_subgraph,
    in_subgraph_of_a_list,
    in_subgraph_of_a_subgraph,
    in_function,
    in_default_of_a_function,
    in_training,
    in_training_steps,
]
Put = Callable[[ModelProto, TensorProto], None]


def where_tensors_may_stand() -> set[str]:
    """Every path of fields from a model to a tensor, as onnx itself declares them, up to a loop."""
    found = set()

    def walk(message, path: tuple[str, ...], above: tuple[str, ...]) -> None:
        for field in message.fields:
            inner = field.message_type
            if inner is None or inner.name in above:
                continue
            if inner.name == "TensorProto":
                found.add(".".join([*path, field.name]))
            walk(inner, (*path, field.name), (*above, inner.name))

    walk(ModelProto.DESCRIPTOR, (), ("ModelProto",))
    return found


def test_the_places_tried_here_are_all_that_onnx_knows() -> None:
    """A newer onnx may let tensors stand elsewhere; then the scan must learn it."""
    last_two = {tuple(path.split(".")[-2:]) for path in where_tensors_may_stand()}
    assert last_two == {
        ("graph", "initializer"),
        ("initialization", "initializer"),
        ("algorithm", "initializer"),
        ("g", "initializer"),
        ("graphs", "initializer"),
        ("sparse_initializer", "values"),
        ("sparse_initializer", "indices"),
        ("sparse_tensor", "values"),
        ("sparse_tensor", "indices"),
        ("sparse_tensors", "values"),
        ("sparse_tensors", "indices"),
        ("attribute", "t"),
        ("attribute", "tensors"),
        ("attribute_proto", "t"),
        ("attribute_proto", "tensors"),
    }


@pytest.mark.parametrize("put", PLACES)
def test_a_tensor_kept_elsewhere_is_found(put: Put) -> None:
    model = toy_onnx_proto()
    put(model, outside())
    assert has_external_data(model.SerializeToString())


@pytest.mark.parametrize("put", PLACES)
def test_the_same_tensor_kept_inside_is_no_reason_to_refuse(put: Put) -> None:
    model = toy_onnx_proto()
    put(model, inside())
    assert not has_external_data(model.SerializeToString())


@pytest.mark.parametrize("put", PLACES)
@pytest.mark.parametrize("lost", ["data_location", "external_data"])
def test_half_a_reference_is_one(put: Put, lost: str) -> None:
    model, tensor = toy_onnx_proto(), outside()
    tensor.ClearField(lost)
    put(model, tensor)
    assert has_external_data(model.SerializeToString())


def test_a_model_saved_by_onnx_with_its_weights_beside_it_is_found(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(
        toy_onnx_proto(), path, save_as_external_data=True, location="w.bin", size_threshold=0
    )
    assert (tmp_path / "w.bin").stat().st_size > 0
    assert has_external_data(path.read_bytes())


def test_an_ordinary_model_keeps_its_data_inside() -> None:
    assert not has_external_data(toy_onnx()["model.onnx"])


def test_a_model_that_says_data_location_default_keeps_its_data_inside() -> None:
    model, tensor = toy_onnx_proto(), inside()
    tensor.data_location = TensorProto.DEFAULT
    in_initializer(model, tensor)
    assert not has_external_data(model.SerializeToString())


# --- written so as not to be found ---------------------------------------------------------------


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def as_field(field: int, content: bytes, *, beyond: int = 0) -> bytes:
    return varint(field << 3 | 2 | beyond) + varint(len(content)) + content


GRAPH = graph_with(outside()).SerializeToString()


def test_a_graph_that_comes_after_another_is_looked_into() -> None:
    """A message given twice is merged by protobuf."""
    assert has_external_data(toy_onnx()["model.onnx"] + as_field(7, GRAPH))
    assert has_external_data(as_field(7, GRAPH) + toy_onnx()["model.onnx"])


def test_a_tag_longer_than_it_needs_to_be_hides_nothing() -> None:
    padded = bytes([7 << 3 | 2 | 0x80, 0x80, 0x80, 0x00]) + varint(len(GRAPH)) + GRAPH
    assert ModelProto.FromString(padded).graph.initializer[0].name == "w"
    assert has_external_data(padded)


@pytest.mark.parametrize("bit", [32, 33, 34])
def test_a_tag_of_more_than_32_bits_hides_nothing(bit: int) -> None:
    """protobuf's C++ reader, which onnxruntime uses, drops the bits beyond the 32nd."""
    assert has_external_data(as_field(7, GRAPH, beyond=1 << bit))


def test_nesting_without_end_is_refused_and_does_not_end_in_a_stack_overflow() -> None:
    content = GRAPH
    for _ in range(2000):
        content = as_field(1, as_field(5, as_field(6, content)))
    assert has_external_data(as_field(7, content))


def test_a_file_of_nothing_but_fields_is_refused_before_it_takes_long(monkeypatch) -> None:
    monkeypatch.setattr(onnx_scan, "_MAX_FIELDS", 1000)
    small = varint(1 << 3) + b"\x08"  # ir_version, again and again
    assert not has_external_data(small * 1000)
    assert has_external_data(small * 1001)
    inside_a_tensor = as_field(7, as_field(5, varint(1 << 3) * 2 * 999))
    assert has_external_data(inside_a_tensor)


@pytest.mark.parametrize("wire", [3, 4, 6, 7])
def test_a_wire_type_that_onnx_never_uses_is_no_onnx(wire: int) -> None:
    assert has_external_data(varint(100 << 3 | wire) + toy_onnx()["model.onnx"])


# --- whatever stands there -----------------------------------------------------------------------


@given(st.binary(max_size=200))
def test_any_bytes_get_an_answer(content: bytes) -> None:
    assert has_external_data(content) in (True, False)


def test_random_bytes_are_no_onnx() -> None:
    assert has_external_data(random.Random(1).randbytes(5000))


@given(at=st.integers(0, len(toy_onnx()["model.onnx"]) - 1), byte=st.integers(0, 255))
def test_an_altered_model_gets_an_answer(at: int, byte: int) -> None:
    content = bytearray(toy_onnx()["model.onnx"])
    content[at] = byte
    assert has_external_data(bytes(content)) in (True, False)


def test_a_model_that_was_cut_is_refused_or_ends_where_a_field_does() -> None:
    content = toy_onnx()["model.onnx"]
    whole = [n for n in range(len(content)) if not has_external_data(content[:n])]
    for n in whole:
        ModelProto.FromString(content[:n])  # protobuf sees no defect either
    assert len(whole) < 10
