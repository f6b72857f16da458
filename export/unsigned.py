"""What products with weights take, in 8 bits without a sign.

x86 multiplies bytes without a sign by bytes with one. Where both have signs, the kernel adds 128 to
what it takes, number by number, in the same units that multiply on many processors. So the numbers
are counted from the bottom of their range instead, and the bias gives back what that adds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from openvino import opset13 as ops

from clin_edge.runtime.ov_weights import numbers_of

_RANGE = (1, 2, 3, 4)  # places of a FakeQuantize's lower and upper bounds among its inputs


def count_from_zero(model: Any) -> int:
    """Shift what products with weights take up to zero, and their biases back; count the shifts.

    For weights w and inputs x from ``low`` up, w·x + b = w·(x - low) + (b + low · Σw). The steps to
    which inputs are rounded stay where they were. The model is changed in place.
    """
    found = list(_shiftable(model))
    for rounded, low, high in found:
        bounds = [rounded.input_value(place) for place in _RANGE[:2]]
        above = [ops.constant(np.float32(number)) for number in (0, high - low)]
        levels = rounded.get_attributes()["levels"]
        shifted = ops.fake_quantize(rounded.input_value(0), *bounds, *above, levels)
        shifted.set_friendly_name(rounded.get_friendly_name())
        for port in rounded.output(0).get_target_inputs():
            _give_back(port.get_node(), low)
            port.replace_source_output(shifted.output(0))
    model.validate_nodes_and_infer_types()
    return len(found)


def added_to_bias(product: Any) -> NDArray[np.float64] | float:
    """Give what ``count_from_zero`` has added to the bias (N,) of a product with weights."""
    rounded = product.input_value(0).get_node()
    if rounded.get_type_name() != "FakeQuantize":
        return 0.0
    before, after = (numbers_of(rounded.input_value(place)) for place in (1, 3))
    return 0.0 if before is None or after is None else _lacking(product, before - after)


def _shiftable(model: Any) -> Iterator[tuple[Any, float, float]]:
    """Yield roundings below zero whose numbers go into products with weights only; their range."""
    for node in model.get_ordered_ops():
        if node.get_type_name() != "FakeQuantize" or numbers_of(node.input_value(0)) is not None:
            continue
        bounds = [numbers_of(node.input_value(place)) for place in _RANGE]
        low_in, high_in, low, high = (None if b is None or b.size > 1 else b.item() for b in bounds)
        if low is None or high is None or (low_in, high_in) != (low, high) or low >= 0:
            continue
        ports = node.output(0).get_target_inputs()
        if ports and all(port.get_index() == 0 and _weights(port.get_node()) for port in ports):
            yield node, low, high


def _weights(node: Any) -> bool:
    if node.get_type_name() != "MatMul" or node.get_attributes()["transpose_a"]:
        return False
    return numbers_of(node.input_value(1)) is not None


def _give_back(product: Any, low: float) -> None:
    """Add to a product's bias what its input lacks; a product without one gets one."""
    lacking = _lacking(product, low)
    for port in product.output(0).get_target_inputs():
        after = port.get_node()
        bias = 1 - port.get_index()
        known = numbers_of(after.input_value(bias)) if after.get_type_name() == "Add" else None
        if known is None:
            port.replace_source_output(ops.add(product, _number(lacking)).output(0))
        else:
            after.input(bias).replace_source_output(_number(known + lacking).output(0))


def _lacking(product: Any, low: Any) -> NDArray[np.float64]:
    """Give what a product (…, N) lacks if its inputs are all less by ``low``."""
    weights, how = numbers_of(product.input_value(1)), product.get_attributes()
    assert weights is not None
    sums = weights.sum(axis=-1 if how["transpose_b"] else -2, dtype=np.float64)
    return np.asarray(low * sums)


def _number(values: NDArray[np.float64]) -> Any:
    return ops.constant(values.astype(np.float32))
