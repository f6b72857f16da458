"""The limit: which products a model has, and that nothing else is timed."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.errors import BundleError
from clin_edge.runtime.bench.probe import (
    ROWS,
    Linear,
    encoder_shape,
    linear_layers,
    product_model,
    start_probe,
)
from toy import N_HIDDEN, toy_bundle

LAYERS = [Linear(8, 8), Linear(8, 16), Linear(16, 8), Linear(4, 2)]


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_the_products_of_a_bundle_are_found(engine: str, tmp_path: Path) -> None:
    bundle = toy_bundle(tmp_path / "b", engine)
    assert linear_layers(bundle) == [Linear(N_HIDDEN, N_HIDDEN - 1)] * 2


def test_products_of_two_activations_do_not_count(tmp_path: Path) -> None:
    import openvino as ov
    from openvino import opset13 as ops

    x = ops.parameter([-1, 4], np.float32)
    eye = ops.constant(np.eye(4, 6, dtype=np.float32).T.copy())
    y = ops.matmul(x, eye, False, True)
    squared = ops.matmul(y, y, False, True)
    model = ov.Model([squared], [x], "m")
    ov.save_model(model, tmp_path / "model.xml")
    files = {name: (tmp_path / name).read_bytes() for name in ("model.xml", "model.bin")}
    assert linear_layers(toy_bundle(tmp_path / "b", files=files)) == [Linear(4, 6)]


def test_a_model_without_products_is_refused(tmp_path: Path) -> None:
    bundle = toy_bundle(tmp_path / "b", files={"model.xml": b"<?xml version='1.0'?><net/>"})
    with pytest.raises(BundleError, match="OpenVINO cannot read its model"):
        linear_layers(bundle)


def encoder_layers(n: int, width: int, *, fused: bool) -> list[Linear]:
    qkv = [Linear(width, 3 * width)] if fused else [Linear(width, width)] * 3
    block = [*qkv, Linear(width, width), Linear(width, 4 * width), Linear(4 * width, width)]
    return block * n + [Linear(width, 7)]


@given(n=st.integers(1, 5), width=st.sampled_from([12, 64, 312]), fused=st.booleans())
def test_an_encoder_s_shape_is_told_by_its_layers(n: int, width: int, fused: bool) -> None:
    assert encoder_shape(encoder_layers(n, width, fused=fused)) == (n, width)


def test_what_is_no_encoder_has_no_shape() -> None:
    with pytest.raises(BundleError, match="--peer-shape"):
        encoder_shape([Linear(8, 8), Linear(8, 7)])


@pytest.mark.parametrize("int8", [True, False])
def test_the_model_of_products_has_each_once_and_chains_what_fits(int8: bool) -> None:
    model = product_model(LAYERS, int8=int8)
    kinds = Counter(node.get_type_name() for node in model.get_ops())
    assert kinds["MatMul"] == len(LAYERS)
    assert kinds["FakeQuantize"] == (len(LAYERS) if int8 else 0)
    assert [list(port.shape) for port in model.inputs] == [[ROWS, 8], [ROWS, 4]]
    assert [list(port.shape) for port in model.outputs] == [[ROWS, 8], [ROWS, 2]]
    weights = {
        str(node.get_element_type().to_dtype())
        for node in model.get_ops()
        if node.get_type_name() == "Constant" and len(node.get_output_shape(0)) == 2
    }
    assert weights == {"int8" if int8 else "float32"}


@given(st.lists(st.builds(Linear, st.sampled_from([4, 8]), st.sampled_from([4, 8])), min_size=1))
def test_there_are_as_few_inputs_as_layers_that_do_not_follow(layers: list[Linear]) -> None:
    breaks = sum(a.wide_out != b.wide_in for a, b in pairwise(layers))
    assert len(product_model(layers, int8=True).inputs) == 1 + breaks


@pytest.mark.parametrize("int8", [True, False])
def test_a_probe_tells_how_many_tokens_it_ran_and_how_long(int8: bool) -> None:
    shapes = [[layer.wide_in, layer.wide_out] for layer in LAYERS]
    ready, answer = start_probe({"shapes": shapes, "int8": int8, "threads": 1})
    assert "openvino" in ready["versions"]
    said = answer({"at_least_s": 0.01})
    assert said["seconds"] >= 0.01
    assert said["tokens"] % ROWS == 0 < said["tokens"]


def test_a_layer_has_numbers() -> None:
    assert Linear(3, 5).macs == 15
    with pytest.raises(ValueError, match="no linear layer"):
        Linear(0, 5)
