"""A student as an ONNX model, float or INT8, of standard operators only: one file, any engine."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from clin_edge.core.batching import Batch
from clin_edge.distill.student import Student
from clin_edge.export.openvino import INPUTS, Int8Settings, run_nncf

OPSET = 17  # the lowest that has a layer norm as one operator: the most toolchains read it
AXES = {0: "batch", 1: "tokens"}
_LARGE = 1024  # bytes of a tensor; no shape is that long


def to_onnx(student: Student) -> bytes:
    """Convert a student to a float32 ONNX model with any batch size and length.

    Inputs ``input_ids`` and ``attention_mask`` (batch, tokens) int64; output ``logits`` (batch,
    tokens, C) float32. The same student gives the same bytes.
    """
    model = student.model.eval()
    example = {name: torch.ones((2, 16), dtype=torch.int64) for name in INPUTS}
    example["attention_mask"][1, 9:] = 0  # a mask of ones alone might be traced away
    stream = io.BytesIO()
    # torch's exporter by tracing is deprecated. Its successor (dynamo=True) gives the same logits
    # and the same speed, takes 9 s where this takes 0.3 s, and leaves stack traces in the file.
    # Should tracing go, set dynamo=True and drop the metadata.
    with _plain_attention(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (),
            stream,  # type: ignore[arg-type]  # a stream is what its tracing writes to
            kwargs={**example, "return_dict": False},
            dynamo=False,
            input_names=list(INPUTS),
            output_names=["logits"],
            dynamic_axes=dict.fromkeys((*INPUTS, "logits"), AXES),
            opset_version=OPSET,
        )
    return _to_bytes(onnx.load_from_string(stream.getvalue()))


def quantize_int8_onnx(model: bytes, batches: Sequence[Batch], settings: Int8Settings) -> bytes:
    """Quantise linear layers and embeddings of a model of ``to_onnx`` to static INT8.

    NNCF's rules for transformers, as in ``quantize_int8``: SmoothQuant, bias correction, and ranges
    fixed here once. The result is then laid out as engines run it best; that changes no number.

    Raises:
        InputError: If there is nothing to calibrate on.
    """
    with TemporaryDirectory() as folder:
        # NNCF copies the model some twenty times: with its weights in it, 12 layers of 768 would
        # need more than 6 GB.
        light, weights = Path(folder, "model.onnx"), Path(folder)
        onnx.save_model(
            onnx.load_from_string(model), light, save_as_external_data=True, location="weights"
        )
        given = onnx.load(light, load_external_data=False)
        in_float = [f"^{re.escape(name)}$" for name in _products_of_activations(given.graph)]
        in_float += [_op_pattern(layer) for layer in settings.float_layers]
        quantized = run_nncf(given, batches, settings, in_float, weights=weights)
    for tensor in quantized.graph.initializer:  # all within again
        tensor.ClearField("data_location")
    _make_activations_unsigned(quantized.graph)
    _scale_rows_after_lookup(quantized.graph)
    return _to_bytes(quantized)


def _op_pattern(layer: str) -> str:
    """Give the pattern of the name that the exporter gives the product of a torch layer."""
    path = "[./]".join(re.escape(part) for part in layer.split("."))
    return f"^.*/{path}/MatMul$"


def _to_bytes(model: Any) -> bytes:
    """Note every shape that can be known; then onnxruntime joins every sum to its layer norm."""
    sketch = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    sketch.graph.CopyFrom(_without_weights(model.graph))
    known = onnx.shape_inference.infer_shapes(sketch, strict_mode=True, data_prop=True)
    del model.graph.value_info[:]
    model.graph.value_info.extend(known.graph.value_info)
    return bytes(model.SerializeToString(deterministic=True))


def _without_weights(graph: Any) -> Any:
    """Give a graph whose large tensors have a shape and no content: all that shapes depend on."""
    light = onnx.GraphProto(
        name=graph.name, node=graph.node, input=graph.input, output=graph.output
    )
    for tensor in graph.initializer:
        if tensor.ByteSize() > _LARGE:
            tensor = TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
        light.initializer.append(tensor)
    return light


@contextmanager
def _plain_attention(model: Any) -> Iterator[None]:
    """Let attention be written out: torch's fused one exports with guards against empty rows."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _products_of_activations(graph: Any) -> list[str]:
    """Name the matrix products without a weight: attention's own, a small part of the work.

    In 8 bits they cost onnxruntime more time than they save.
    """
    weights = {tensor.name for tensor in graph.initializer}
    return [
        node.name
        for node in graph.node
        if node.op_type == "MatMul" and not weights & set(node.input)
    ]


def _make_activations_unsigned(graph: Any) -> None:
    """Move activations from -128..127 to 0..255: the same numbers, in the bytes engines expect.

    Of a product of two signed sides onnxruntime takes the slowest way, or leaves it in float.
    """
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for name in {node.input[2] for node in graph.node if node.op_type == "QuantizeLinear"}:
        values = numpy_helper.to_array(tensors[name])
        if values.dtype == np.int8:
            moved = (values.astype(np.int16) + 128).astype(np.uint8)
            tensors[name].CopyFrom(numpy_helper.from_array(moved, name))


def _scale_rows_after_lookup(graph: Any) -> None:
    """Let an embedding look up rows of bytes and scale those, not the whole table at every run."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    tables = {
        node.output[0]: node.input
        for node in graph.node
        if node.op_type == "DequantizeLinear"
        and node.input[0] in tensors
        and list(tensors[node.input[1]].dims) == [tensors[node.input[0]].dims[0]]
        and not numpy_helper.to_array(tensors[node.input[2]]).any()
    }
    nodes: list[Any] = []
    for node in graph.node:
        if node.op_type != "Gather" or node.input[0] not in tables:
            nodes.append(node)
            continue
        table, scale, _ = tables[node.input[0]]
        ids, out = node.input[1], node.output[0]
        tensors[scale].dims[:] = [tensors[scale].dims[0], 1]
        nodes += [
            helper.make_node("Gather", [table, ids], [f"{out}_bytes"], f"{out}_rows"),
            helper.make_node(
                "Cast", [f"{out}_bytes"], [f"{out}_float"], f"{out}_cast", to=TensorProto.FLOAT
            ),
            helper.make_node("Gather", [scale, ids], [f"{out}_scale"], f"{out}_scales"),
            helper.make_node("Mul", [f"{out}_float", f"{out}_scale"], [out], f"{out}_scaled"),
        ]
    needed = {name for node in nodes for name in node.input}
    nodes = [node for node in nodes if not set(node.output) <= set(tables) - needed]
    needed = {name for node in nodes for name in node.input}
    tensors_left = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(tensors_left)


def quantized_share_onnx(model: bytes) -> float:
    """Give the share of the model's constants, by count of numbers, that are 8-bit."""
    sizes = {True: 0, False: 0}
    for tensor in onnx.load_from_string(model).graph.initializer:
        in_8_bits = tensor.data_type in (TensorProto.INT8, TensorProto.UINT8)
        sizes[in_8_bits] += int(np.prod(tensor.dims, dtype=np.int64))
    return sizes[True] / max(sum(sizes.values()), 1)
