"""Attention's second product, of shares and values, in 8 bits.

NNCF rounds queries and keys to 8 bits, and leaves to float what comes after the softmax.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from clin_edge.core.batching import Batch

_KIND = "ScaledDotProductAttention"
_VALUE, _MASK = 2, 3  # places among its inputs
_LEVELS = 256
_MOVES = ("Reshape", "Transpose")


def round_shares_and_values(model: Any, batches: Sequence[Batch]) -> int:
    """Let every attention of ``model`` multiply 8-bit shares by 8-bit values; count them.

    The shares, which softmax gives, are numbers from 0 to 1, and those of a row sum to 1: so no sum
    of two products leaves 16 bits, in which CPUs without VNNI add them. The values get the range
    that they have in ``batches``. The model is changed in place.
    """
    places = _attentions(model)
    for node, most in zip(places, _largest_values(model, batches), strict=True):
        _replace(node, most or 1.0)
    model.validate_nodes_and_infer_types()
    return len(places)


def _attentions(model: Any) -> list[Any]:
    """Give the attentions in which a mask hides tokens, and nothing else does."""
    return [
        node
        for node in model.get_ordered_ops()
        if node.get_type_name() == _KIND
        and node.get_input_size() > _MASK
        and not node.get_attributes()["causal"]
    ]


def _largest_values(model: Any, batches: Sequence[Batch]) -> list[float]:
    """Give the largest size of each attention's values, over all real tokens."""
    watched = model.clone()
    n_outputs = len(watched.outputs)
    watched.add_outputs([node.input_value(_VALUE) for node in _attentions(watched)])
    compiled = ov.compile_model(watched, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    largest = [0.0] * (len(watched.outputs) - n_outputs)
    for batch in batches:
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        given = compiled(inputs)
        real = batch.attention_mask == 1
        for i in range(len(largest)):
            values = np.moveaxis(given[n_outputs + i], 1, 2)[real]  # (B, H, T, D) to (N, H, D)
            largest[i] = max(largest[i], float(np.abs(values).max(initial=0)))
    return largest


def _replace(node: Any, most: float) -> None:
    """Write an attention as what it consists of, its values rounded between ``most`` and less."""
    query, key, value, mask, *scale = node.input_values()
    name = node.get_friendly_name()
    width = query.get_partial_shape()[-1].get_length()
    factor = scale[0] if scale else _number(1 / np.sqrt(width))
    if mask.get_element_type() == ov.Type.boolean:
        mask = ops.select(mask, _number(0), _number(-np.inf)).output(0)
    scores = ops.add(ops.multiply(ops.matmul(query, key, False, True), factor), mask)
    shares = _rounded(ops.softmax(scores, -1), 0, 1)
    rounded, values = _round_values(value, -most * _LEVELS / (_LEVELS - 2), most)
    product = ops.matmul(shares, values, False, False)
    for number, part in enumerate((scores, shares, rounded, product)):
        part.set_friendly_name(f"{name}/{number}")
    product.output(0).get_tensor().set_names(node.output(0).get_names())
    for port in node.output(0).get_target_inputs():
        port.replace_source_output(product.output(0))


def _round_values(value: Any, low: float, high: float) -> tuple[Any, Any]:
    """Give the node that rounds values, and the values, rounded.

    They are rounded where a linear layer gives them, which does it in passing: between there and
    attention they are only cut into heads and moved about.
    """
    place, node = None, value.get_node()
    while node.get_type_name() in _MOVES and len(node.output(0).get_target_inputs()) == 1:
        place, node = node.input(0), node.input_value(0).get_node()
    if place is None:
        rounded = _rounded(value, low, high)
        return rounded, rounded.output(0)
    rounded = _rounded(place.get_source_output(), low, high)
    place.replace_source_output(rounded.output(0))
    return rounded, value


def _rounded(numbers: Any, low: float, high: float) -> Any:
    bounds = [_number(bound) for bound in (low, high, low, high)]
    return ops.fake_quantize(numbers, *bounds, _LEVELS)


def _number(value: float) -> Any:
    return ops.constant(np.float32(value))
