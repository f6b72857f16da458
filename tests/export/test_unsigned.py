"""Inputs of products without a sign: the same sums, wherever the bias stands, for every encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from clin_edge.export.calibrate import calibration_batches
from clin_edge.export.openvino import Int8Settings, quantize_int8, to_openvino
from clin_edge.export.unsigned import count_from_zero
from clin_edge.runtime.ov_weights import numbers_of
from tiny import KINDS, tiny_student

N_ROWS, N_IN, N_OUT = 7, 6, 4
DRAW = np.random.default_rng(2)
INPUT = DRAW.normal(0, 1, (N_ROWS, N_IN)).astype(np.float32)
WEIGHTS = DRAW.integers(-127, 128, (N_OUT, N_IN), dtype=np.int8)
SCALES = DRAW.uniform(0.01, 0.02, (N_OUT, 1)).astype(np.float32)
BIAS = DRAW.normal(0, 1, (1, N_OUT)).astype(np.float32)


def number(value: float) -> Any:
    return ops.constant(np.float32(value))


def rounded(numbers: Any, low: float, high: float) -> Any:
    return ops.fake_quantize(
        numbers, number(low), number(high), number(low), number(high), levels=256
    )


def product(of: Any, *, transposed: bool = True) -> Any:
    turned = (lambda values: values) if transposed else np.transpose
    weights = ops.multiply(ops.convert(ops.constant(turned(WEIGHTS)), "f32"), turned(SCALES))
    return ops.matmul(of, weights, False, transposed)


def answers(*results: Any, on: Any) -> list[np.ndarray]:
    """Compute without 8-bit kernels, so that only what is computed counts."""
    model = ov.Model(list(results), [on], "products")
    settings = {"INFERENCE_PRECISION_HINT": "f32", "LP_TRANSFORMS_MODE": "NO"}
    return [np.array(part) for part in ov.compile_model(model, "CPU", settings)([INPUT]).values()]


@pytest.mark.parametrize("low", [-2.0, -128 / 127 * 1.5, -0.17])
@pytest.mark.parametrize("kind", ["bias last", "bias first", "no bias", "not transposed", "two"])
def test_the_sums_stay_and_the_inputs_begin_at_zero(kind: str, low: float) -> None:
    where = ops.parameter([N_ROWS, N_IN], np.float32)
    taken = rounded(where, low, 1.5)
    value = product(taken, transposed=kind != "not transposed")
    if kind == "bias first":
        value = ops.add(ops.constant(BIAS), value)
    elif kind != "no bias":
        value = ops.add(value, ops.constant(BIAS))
    results = [value, ops.relu(product(taken))] if kind == "two" else [value]
    before = answers(*results, on=where)
    model = ov.Model(results, [where], "products")
    assert count_from_zero(model) == 1
    (shifted,) = (n for n in model.get_ops() if n.get_type_name() == "FakeQuantize")
    bounds = [numbers_of(shifted.input_value(i)) for i in (1, 2, 3, 4)]
    np.testing.assert_allclose(bounds, [low, 1.5, 0, 1.5 - low], rtol=1e-6)
    after = answers(*model.outputs, on=where)
    for was, now in zip(before, after, strict=True):
        assert np.abs(was).max() > 1
        np.testing.assert_allclose(now, was, atol=2e-5)


def test_what_has_no_sign_or_is_read_otherwise_too_is_left_alone() -> None:
    where = ops.parameter([N_ROWS, N_IN], np.float32)
    plain = product(rounded(where, 0, 1.5))
    taken = rounded(where, -2, 1.5)
    also = [product(taken), ops.relu(taken)]
    each = ops.matmul(rounded(where, -1, 1), rounded(where, -1, 1), False, True)
    model = ov.Model([plain, *also, each], [where], "products")
    assert count_from_zero(model) == 0


@pytest.mark.parametrize("preset", ["mixed", "performance"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_product_with_weights_takes_numbers_from_zero_up(
    kind: str, preset: str, tmp_path: Path, notes
) -> None:
    student = tiny_student(tmp_path, kind)
    batches = calibration_batches(notes, student.encoder)
    model = quantize_int8(to_openvino(student), batches, Int8Settings(preset=preset))
    lows = [
        numbers_of(node.input_value(0).get_node().input_value(3)).item()
        for node in model.get_ops()
        if node.get_type_name() == "MatMul"
        and numbers_of(node.input_value(1)) is not None
        and node.input_value(0).get_node().get_type_name() == "FakeQuantize"
    ]
    assert len(lows) >= 6 * student.model.config.num_hidden_layers
    assert lows == [0] * len(lows)
