"""Attention's second product in 8 bits: what NNCF leaves in float, near it, for every encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from clin_edge.core.batching import Batch
from clin_edge.export.attention import round_shares_and_values
from clin_edge.export.calibrate import calibration_batches
from clin_edge.export.openvino import Int8Settings, quantize_int8, to_openvino
from tiny import ATTENDING, tiny_student

N_ROWS, N_HEADS, N_TOKENS, WIDTH, N_KINDS = 2, 3, 5, 4, 50
TABLE = np.random.default_rng(3).normal(0, 1, (N_KINDS, N_HEADS * WIDTH)).astype(np.float32)
TABLE[0] *= 5  # as large as no other


def kinds_of(model: ov.Model) -> list[str]:
    return [node.get_type_name() for node in model.get_ops()]


def attention(*, floats: bool = False, scale: bool = False, causal: bool = False) -> ov.Model:
    """Attention alone: queries, keys and values are all what the ids say in ``TABLE``."""
    ids = ops.parameter([-1, -1], np.int64, name="input_ids")
    seen = ops.parameter([-1, -1], np.int64, name="attention_mask")
    for node, name in ((ids, "input_ids"), (seen, "attention_mask")):
        node.output(0).get_tensor().set_names({name})
    rows = ops.gather(ops.constant(TABLE), ids, ops.constant(np.int64(0)))
    shape = ops.constant(np.array([0, 0, N_HEADS, WIDTH]))
    heads = ops.transpose(ops.reshape(rows, shape, True), ops.constant(np.array([0, 2, 1, 3])))
    mask = ops.unsqueeze(ops.convert(seen, "boolean"), ops.constant(np.array([1, 2])))
    if floats:
        mask = ops.select(mask, ops.constant(np.float32(0)), ops.constant(np.float32(-1e9)))
    factor = ops.constant(np.float32(0.3)) if scale else None
    found = ops.scaled_dot_product_attention(heads, heads, heads, mask, factor, causal)
    found.set_friendly_name("encoder.layer.0.attention.self")
    return ov.Model([found], [ids, seen], "attention")


def the_user(node: Any) -> Any:
    (port,) = node.output(0).get_target_inputs()
    return port.get_node()


def some_batches(n: int) -> list[Batch]:
    """The first row hides its last two tokens."""
    rng = np.random.default_rng(5)
    mask = np.ones((N_ROWS, N_TOKENS), np.int64)
    mask[0, 3:] = 0
    return [Batch(rng.integers(1, N_KINDS, mask.shape), mask, (0, 1)) for _ in range(n)]


def answers(model: ov.Model, batch: Batch) -> np.ndarray:
    compiled = ov.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    given = compiled({"input_ids": batch.input_ids, "attention_mask": batch.attention_mask})
    return np.array(given[0])


@pytest.mark.parametrize("how", [{}, {"floats": True}, {"scale": True}], ids=str)
def test_it_is_attention_but_for_the_rounding(how: dict[str, bool]) -> None:
    model = attention(**how)
    batches = some_batches(4)
    before = [answers(model, batch) for batch in batches]
    assert round_shares_and_values(model, batches) == 1
    assert "ScaledDotProductAttention" not in kinds_of(model)
    assert kinds_of(model).count("FakeQuantize") == 2
    largest = max(np.abs(one).max() for one in before)
    for was, batch in zip(before, batches, strict=True):
        off = np.abs(answers(model, batch) - was)
        assert 0 < off.max() < 0.02 * largest


def test_values_beyond_those_seen_are_cut_off_and_hidden_ones_set_no_range() -> None:
    (batch,) = some_batches(1)
    batch.input_ids[0, 3:] = 0  # hidden, and larger than all others
    model = attention()
    round_shares_and_values(model, [batch])
    most = np.abs(TABLE[batch.input_ids[batch.attention_mask == 1]]).max()
    assert np.abs(TABLE[0]).max() > 1.5 * most
    alone = Batch(np.zeros((1, 1), np.int64), np.ones((1, 1), np.int64), (0,))
    found = answers(model, alone).reshape(-1)  # one token looks at itself: its own values
    np.testing.assert_allclose(found, np.clip(TABLE[0], -128 / 127 * most, most), atol=most / 127)


def test_attention_that_hides_the_future_is_left_alone() -> None:
    model = attention(causal=True)
    assert round_shares_and_values(model, some_batches(1)) == 0
    assert "ScaledDotProductAttention" in kinds_of(model)


@pytest.mark.parametrize("kind", ATTENDING)
def test_no_product_of_attention_is_left_in_float(kind: str, tmp_path: Path, notes) -> None:
    student = tiny_student(tmp_path, kind)
    batches = calibration_batches(notes, student.encoder)
    model = quantize_int8(to_openvino(student), batches, Int8Settings())
    assert "ScaledDotProductAttention" not in kinds_of(model)
    shares = [node for node in model.get_ops() if node.get_type_name() == "Softmax"]
    assert len(shares) == student.model.config.num_hidden_layers
    for node in shares:
        rounded = the_user(node)
        product = the_user(rounded)
        assert (rounded.get_type_name(), product.get_type_name()) == ("FakeQuantize", "MatMul")
        # Rounded by what the linear layer of the values writes, before they are cut into heads.
        values, kinds = product.input_value(1).get_node(), []
        while values.get_type_name() != "Add":
            kinds.append(values.get_type_name())
            values = values.input_value(0).get_node()
        assert kinds == ["Transpose", "Reshape", "FakeQuantize"]
