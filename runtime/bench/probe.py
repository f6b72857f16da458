"""What this machine can do at most: a bundle's matrix products, and nothing else, timed.

Run as ``python -m clin_edge.runtime.bench.probe``. OpenVINO's kernels are timed whatever engine the
bundle is for: onnxruntime takes no model that is not an ONNX file.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from clin_edge.core.bundle import Bundle
from clin_edge.core.errors import BundleError
from clin_edge.runtime.bench.subjects import Answerer, serve

ROWS = 1024
# What may stand between a weight and its product.
_BETWEEN = ("Convert", "Multiply", "Subtract", "FakeQuantize", "Reshape", "Transpose")


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear layer: each token's ``wide_in`` numbers become ``wide_out``."""

    wide_in: int
    wide_out: int

    def __post_init__(self) -> None:
        """Refuse a layer without numbers."""
        if min(self.wide_in, self.wide_out) < 1:
            raise ValueError(f"no linear layer: {self}")

    @property
    def macs(self) -> int:
        """Multiply-accumulates a token."""
        return self.wide_in * self.wide_out


def linear_layers(bundle: Bundle) -> list[Linear]:
    """Give the shapes of all products with a weight in the bundle's model, in its order.

    Raises:
        BundleError: If OpenVINO cannot read the model, or it has no such product.
    """
    core = ov.Core()
    try:
        if "openvino" in bundle.manifest.engines:
            weights = np.frombuffer(bundle.files["model.bin"], dtype=np.uint8)
            model = core.read_model(bundle.files["model.xml"], ov.Tensor(weights))
        else:
            model = core.read_model(bundle.files["model.onnx"])
    except RuntimeError:
        raise BundleError(f"{bundle.path}: OpenVINO cannot read its model") from None
    layers = [layer for node in model.get_ordered_ops() if (layer := _linear(node))]
    if not layers:
        raise BundleError(f"{bundle.path}: its model has no product with a weight")
    return layers


def encoder_shape(layers: Sequence[Linear]) -> tuple[int, int]:
    """Guess an encoder's number of layers and width from its linear layers.

    Each of its layers brings what its feed-forward block widened back to the width, once.

    >>> block = [Linear(64, 64)] * 4 + [Linear(64, 256), Linear(256, 64)]
    >>> encoder_shape([*block, *block, Linear(64, 7)])
    (2, 64)
    """
    narrowing = [(a, b) for a, b in pairwise(layers) if _undoes(a, b)]
    if not narrowing:
        raise BundleError("the model's shape cannot be told; name one with --peer-shape 12x768")
    return len(narrowing), narrowing[0][1].wide_out


def _undoes(up: Linear, down: Linear) -> bool:
    return up.wide_in == down.wide_out < up.wide_out == down.wide_in


def _linear(node: Any) -> Linear | None:
    if node.get_type_name() != "MatMul" or not _is_weight(node.input_value(1).get_node()):
        return None
    shape = node.get_input_partial_shape(1)
    if shape.is_dynamic or len(shape) != 2:
        return None
    n_in, n_out = shape.to_shape()
    if node.get_attributes()["transpose_b"]:
        n_in, n_out = n_out, n_in
    return Linear(n_in, n_out)


def _is_weight(node: Any) -> bool:
    """Tell whether a value is made of constants alone."""
    if node.get_type_name() == "Constant":
        return True
    return node.get_type_name() in _BETWEEN and all(
        _is_weight(value.get_node()) for value in node.input_values()
    )


def product_model(layers: Sequence[Linear], *, int8: bool) -> Any:
    """Build a model of nothing but these products, for ``ROWS`` tokens.

    Layers that fit are chained, so that in INT8 an 8-bit result goes straight into the next.
    Weights are random and of 7 bits: the numbers do not matter to the speed.
    """
    draw = np.random.default_rng(0)
    inputs, results = [], []
    for chain in _chains(layers):
        value: Any = ops.parameter([ROWS, chain[0].wide_in], np.float32)
        inputs.append(value)
        for layer in chain:
            shape = (layer.wide_in, layer.wide_out)
            if int8:
                # Unsigned 8-bit activations, signed 8-bit weights: the quickest kind of product.
                low, high = ops.constant(np.float32(0)), ops.constant(np.float32(2.55))
                value = ops.fake_quantize(value, low, high, low, high, 256)
                numbers = draw.integers(-63, 64, shape, dtype=np.int8)
                weight = ops.multiply(
                    ops.convert(ops.constant(numbers), "f32"), ops.constant(np.float32(0.01))
                )
            else:
                weight = ops.constant(draw.standard_normal(shape, dtype=np.float32))
            value = ops.matmul(value, weight, False, False)
        results.append(value)
    return ov.Model(results, inputs, "products")


def _chains(layers: Sequence[Linear]) -> Iterator[list[Linear]]:
    chain: list[Linear] = []
    for layer in layers:
        if chain and chain[-1].wide_out != layer.wide_in:
            yield chain
            chain = []
        chain.append(layer)
    yield chain


def start_probe(order: dict[str, Any]) -> tuple[dict[str, Any], Answerer]:
    """Compile the products; a question is ``{"at_least_s": X}``, the answer tells a speed."""
    layers = [Linear(*shape) for shape in order["shapes"]]
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(order["threads"]),
        "ENABLE_CPU_PINNING": "NO",
    }
    model = product_model(layers, int8=order["int8"])
    compiled = ov.Core().compile_model(model, "CPU", settings)
    request = compiled.create_infer_request()
    tensors = [np.random.default_rng(1).random(list(p.shape), np.float32) for p in model.inputs]
    request.infer(tensors)

    def answer(question: dict[str, Any]) -> dict[str, Any]:
        runs, began = 0, time.perf_counter()
        while runs == 0 or time.perf_counter() - began < question["at_least_s"]:
            request.infer(tensors, share_inputs=True)
            runs += 1
        return {"seconds": time.perf_counter() - began, "tokens": runs * ROWS}

    return {"versions": {"openvino": ov.__version__.split("-")[0]}}, answer


if __name__ == "__main__":
    serve(start_probe)
