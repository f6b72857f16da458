"""The 8-bit constants of a model, given to OpenVINO as it can use them best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

# What stands between an 8-bit constant and the product that takes it.
_TWO: dict[str, Callable[[Any, Any], Any]] = {"Multiply": np.multiply, "Subtract": np.subtract}

_BYTES = (ov.Type.i8, ov.Type.u8)


def widen_weights(model: ov.Model) -> int:
    """Turn 8-bit weights of matrix products into the float numbers they stand for; count them.

    For processors on which float products are faster: left as they are, weights would be widened
    anew for every product. What is computed stays the same.
    """
    widened = 0
    for node in model.get_ops():
        if node.get_type_name() != "MatMul":
            continue
        for port in node.inputs():
            source = port.get_source_output()
            if source.get_node().get_type_name() == "Constant":
                continue
            weights = numbers_of(source)
            if weights is not None:
                constant = ops.constant(np.ascontiguousarray(weights, dtype=np.float32))
                port.replace_source_output(constant.output(0))
                widened += 1
    model.validate_nodes_and_infer_types()
    return widened


def look_up_in_8_bits(model: ov.Model) -> int:
    """Look rows of 8-bit tables up before they become float numbers, not after; count the tables.

    Left as it is, OpenVINO makes a whole table float when it compiles: of the embeddings, four
    times their size in memory, and a tenth of the time that a start takes. The rows are the same
    numbers to the bit.
    """
    moved = 0
    for node in model.get_ops():
        table = _table(node)
        if table is None:
            continue
        content, scale = table
        _, ids, axis = node.input_values()
        if int(np.prod(scale.get_shape())) > 1:
            scale = ops.gather(scale, ids, axis).output(0)
        rows = ops.multiply(ops.convert(ops.gather(content, ids, axis), "f32"), scale)
        for port in node.output(0).get_target_inputs():
            port.replace_source_output(rows.output(0))
        moved += 1
    model.validate_nodes_and_infer_types()
    return moved


def _table(node: Any) -> tuple[Any, Any] | None:
    """Give the 8-bit rows that a node looks up, and their scale: one, or one a row."""
    if node.get_type_name() != "Gather" or np.any(numbers_of(node.input_value(2)) != 0):
        return None
    scaled = node.input_value(0).get_node()
    if scaled.get_type_name() != "Multiply":
        return None
    wide, scale = (output.get_node() for output in scaled.input_values())
    if wide.get_type_name() != "Convert" or scale.get_type_name() != "Constant":
        return None
    content, scales = wide.input_value(0), scale.output(0)
    if content.get_node().get_type_name() != "Constant":
        return None
    if content.get_element_type() not in _BYTES or wide.get_element_type() != ov.Type.f32:
        return None
    rows, *inner = content.get_shape()
    shape = list(scales.get_shape())
    by_row = shape == [rows] + [1] * len(inner)
    one = set(shape) <= {1} and len(shape) <= 1 + len(inner)
    return (content, scales) if by_row or one else None


def numbers_of(output: Any) -> NDArray[Any] | None:
    """Give what an output always is; None if it depends on the input, or is made another way."""
    node = output.get_node()
    kind = node.get_type_name()
    if kind == "Constant":
        return np.asarray(node.data)
    if kind not in ("Convert", "Reshape", *_TWO):
        return None
    inputs: list[NDArray[Any]] = []
    for i in range(node.get_input_size()):
        value = numbers_of(node.input_value(i))
        if value is None:
            return None
        inputs.append(value)
    if kind == "Convert":
        return inputs[0].astype(np.float32)
    if kind == "Reshape":
        return inputs[0].reshape(tuple(output.get_shape()))
    return np.asarray(_TWO[kind](*inputs), dtype=np.float32)
