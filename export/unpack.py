"""The student of a bundle: what was packed comes out again as a float model that can learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import openvino as ov
import torch
from numpy.typing import NDArray

from clin_edge.core.bundle import Bundle
from clin_edge.core.crf import CRF_FILE, CrfTables
from clin_edge.core.errors import InputError
from clin_edge.distill.student import Student, new_student
from clin_edge.export.unsigned import added_to_bias

_OURS = "__module._model."  # what OpenVINO puts before the path of a module of the student's
_SMOOTH = "nncf_smooth_quant"


def unpack(bundle: Bundle, encoder: str) -> Student:
    """Give the student that a bundle was made of, as exactly as the bundle has it.

    From a float bundle its weights come out as they went in; from an INT8 one rounded to 8 bits,
    with biases that were corrected for it.

    Args:
        bundle: A bundle with a model for OpenVINO.
        encoder: A folder or hub id of an encoder of the same shape, such as the one the student
            began with: a bundle does not tell how many heads there are.

    Raises:
        InputError: If the bundle has no such model, or the encoder has another shape.
    """
    manifest = bundle.manifest
    if "openvino" not in manifest.engines:
        raise InputError(f"{bundle.path}: has no model for OpenVINO, and only such can be unpacked")
    student = new_student(
        encoder, manifest.scheme, max_tokens=manifest.max_tokens, overlap=manifest.overlap, seed=0
    )
    weights = np.frombuffer(bundle.files["model.bin"], dtype=np.uint8)
    model = ov.Core().read_model(bundle.files["model.xml"], ov.Tensor(weights))
    nodes = {op.get_friendly_name(): op for op in model.get_ordered_ops()}
    learnt = student.model.state_dict()
    for name, tensor in learnt.items():
        value = _weight(nodes, name)
        if value is None or value.size != tensor.numel() or value.shape[-1] != tensor.shape[-1]:
            found = "none" if value is None else "x".join(map(str, value.shape))
            raise InputError(
                f"{bundle.path}: {name} is {'x'.join(map(str, tensor.shape))} in {encoder}, "
                f"{found} in the bundle; name an encoder of its shape"
            )
        learnt[name] = torch.from_numpy(value.reshape(tensor.shape).astype(np.float32))
    student.model.load_state_dict(learnt)
    tables = bundle.files.get(CRF_FILE)
    return replace(
        student,
        tokenizer_json=bundle.files["tokenizer.json"],
        crf=None if tables is None else CrfTables.from_npz(tables, len(manifest.scheme.tags)),
        passage_tokens=manifest.passage_tokens,
        facts={"unpacked_from": bundle.id, "learnt_from": list(manifest.sources)},
    )


def _weight(nodes: Mapping[str, Any], name: str) -> NDArray[Any] | None:
    """Give a weight by its name in torch, or None if the model has none of that name."""
    path, _, kind = name.rpartition(".")
    for place in _PLACES[kind]:
        node = nodes.get(_OURS + path + place)
        if node is None:
            continue
        where = 0 if place.endswith("Gather") else 1
        value = _constant(node.input_value(where))
        if place.endswith("MatMul"):
            return value * _smoothing(node)
        if place.endswith("linear/Add"):
            return value - added_to_bias(node.input_value(0).get_node())
        return value
    return None


_PLACES = {
    "weight": (
        "/aten::linear/MatMul",
        "/aten::embedding/Gather",
        "/aten::layer_norm/Multiply_1",
    ),
    "bias": ("/aten::linear/Add", "/aten::layer_norm/Add"),
}


def _smoothing(product: Any) -> NDArray[Any] | float:
    """Give by how much a product's inputs were made smaller for INT8, and its weights larger."""
    above = product.input_value(0).get_node()
    if above.get_type_name() == "FakeQuantize":
        above = above.input_value(0).get_node()
    if not above.get_friendly_name().endswith(_SMOOTH):
        return 1.0
    return _constant(above.input_value(1)).reshape(1, -1)


def _constant(output: Any) -> NDArray[Any]:
    """Give the value of a part of the model that depends on no input."""
    compiled = ov.compile_model(ov.Model([output], []), "CPU", _EXACT)
    value: NDArray[Any] = np.array(next(iter(compiled([]).values())))
    return value


_EXACT = {"INFERENCE_PRECISION_HINT": "f32"}
