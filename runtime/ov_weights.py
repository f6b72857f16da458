"""An INT8 model made ready for a processor on which float products are faster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

# What stands between an 8-bit constant and the product that takes it.
_TWO: dict[str, Callable[[Any, Any], Any]] = {"Multiply": np.multiply, "Subtract": np.subtract}


def widen_weights(model: ov.Model) -> int:
    """Turn 8-bit weights of matrix products into the float numbers they stand for; count them.

    Left as they are, they would be widened anew for every product. Tables that are looked up, not
    multiplied, stay in 8 bits. What is computed stays the same.
    """
    widened = 0
    for node in model.get_ops():
        if node.get_type_name() != "MatMul":
            continue
        for port in node.inputs():
            source = port.get_source_output()
            if source.get_node().get_type_name() == "Constant":
                continue
            weights = _value(source)
            if weights is not None:
                constant = ops.constant(np.ascontiguousarray(weights, dtype=np.float32))
                port.replace_source_output(constant.output(0))
                widened += 1
    model.validate_nodes_and_infer_types()
    return widened


def _value(output: Any) -> NDArray[Any] | None:
    """Give what an output always is; None if it depends on the input, or is made another way."""
    node = output.get_node()
    kind = node.get_type_name()
    if kind == "Constant":
        return np.asarray(node.data)
    if kind not in ("Convert", "Reshape", *_TWO):
        return None
    inputs: list[NDArray[Any]] = []
    for i in range(node.get_input_size()):
        value = _value(node.input_value(i))
        if value is None:
            return None
        inputs.append(value)
    if kind == "Convert":
        return inputs[0].astype(np.float32)
    if kind == "Reshape":
        return inputs[0].reshape(tuple(output.get_shape()))
    return np.asarray(_TWO[kind](*inputs), dtype=np.float32)
