"""A bundle whose INT8 sums overflow 16 bits on a CPU without VNNI; and the same with the fix.

    PYTHONPATH=tests python -m saturating FOLDER    # writes FOLDER/disable and FOLDER/enable

Such a CPU multiplies two unsigned activations by two signed weights and adds the products in 16
bits, which hold 32,767 at most. Here every activation of a word that counts is at its largest, and
so is every weight: 255 x 127 + 255 x 127 = 64,770 becomes 32,767, half of what it should be, and
falls below the score of the tag O. With weights of 7 bits the sum is 32,130 and fits.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from clin_edge.core.batching import Batch, Logits, Session
from clin_edge.core.bundle import Bundle
from clin_edge.core.crf import CrfTables
from clin_edge.core.notes import Note
from clin_edge.core.predict import Predictor
from toy import OPENS, TYPES, toy_bundle, toy_encoder, toy_logits, toy_scheme, wordpiece_json

FIXES = ("disable", "enable")
_HIDDEN = 32  # of each label
NOTES = tuple(
    Note(f"n{i}", text)
    for i, text in enumerate(
        (
            "patient takes metformin for diabetes; denies fever.",
            "no pain, cough and rash on admission",
            "aspirin and heparin daily for asthma. " * 6,
            "the patient reports nothing at discharge",
            "warfarin, insulin, lisinopril; stroke without headache " * 3,
            "fever",
            "with or without a rash: amoxicillin 500 mg twice daily, oral",
        )
    )
)


class ToyNumpy(Session):
    """The network of ``toy_bundle`` without an engine."""

    def run(self, batch: Batch) -> Logits:
        """Logits (B, T, C)."""
        return toy_logits(batch)


class SaturatingNumpy(Session):
    """The float network that is to be quantised, without an engine."""

    def run(self, batch: Batch) -> Logits:
        """Logits (B, T, C)."""
        table, tags, bias = _weights()
        mask = batch.attention_mask[..., None].astype(np.float32)
        return (table[batch.input_ids] * mask) @ tags + bias


def golden(
    session: Session, notes: Sequence[Note] = NOTES, *, crf: CrfTables | None = None
) -> bytes:
    """A ``golden.jsonl`` of what ``session`` finds in ``notes``."""
    lines = []
    for reading in Predictor(toy_encoder(), toy_scheme(), session, crf=crf).read(notes):
        found = [
            {"start": e.span.start, "end": e.span.end, "label": e.label, "score": e.score}
            for e in reading.entities
        ]
        lines.append(
            json.dumps({"id": reading.note.id, "text": reading.note.text, "entities": found})
        )
    return "\n".join(lines).encode()


def saturating_bundle(folder: Path, engine: str, overflow_fix: str) -> Bundle:
    """Write the INT8 network for an engine, its weights in 8 bits (``disable``) or 7."""
    made = {"openvino": _openvino, "onnxruntime": _onnx}[engine](overflow_fix)
    files = {**made, "golden.jsonl": golden(SaturatingNumpy())}
    return toy_bundle(folder, engine, files=files, precision="int8", gate={"golden_agreement": 1.0})


@cache
def _weights() -> tuple[NDArray[np.float32], ...]:
    """``table`` (V, H), ``tags`` (H, C), ``bias`` (C,): O lies between the full and half sum."""
    vocab = Tokenizer.from_buffer(wordpiece_json()).get_vocab()
    table = np.zeros((len(vocab), _HIDDEN * len(TYPES)), np.float32)
    tags = np.zeros((table.shape[1], 2 * len(TYPES) + 1), np.float32)
    for i, label in enumerate(TYPES):
        own = slice(i * _HIDDEN, (i + 1) * _HIDDEN)
        tags[own, 1 + 2 * i] = 1
        for word in OPENS[label].split():
            table[vocab[word], own] = 1
    bias = np.zeros(tags.shape[1], np.float32)
    bias[0] = 0.75 * _HIDDEN
    return table, tags, bias


@cache
def _openvino(overflow_fix: str) -> dict[str, bytes]:
    """Quantised by NNCF, as ``clin-edge export`` does."""
    import openvino as ov
    from openvino import opset13 as ops

    from clin_edge.export.calibrate import calibration_batches
    from clin_edge.export.openvino import Int8Settings, model_files, quantize_int8

    table, tags, bias = map(ops.constant, _weights())
    ids = ops.parameter([-1, -1], np.int64, name="input_ids")
    mask = ops.parameter([-1, -1], np.int64, name="attention_mask")
    wide = ops.unsqueeze(ops.convert(mask, "f32"), ops.constant(np.array([2])))
    masked = ops.multiply(ops.gather(table, ids, ops.constant(np.int64(0))), wide)
    logits = ops.add(ops.matmul(masked, tags, False, False), bias)
    for node, name in ((ids, "input_ids"), (mask, "attention_mask"), (logits, "logits")):
        node.output(0).get_tensor().set_names({name})
    windows = calibration_batches(NOTES, toy_encoder())
    model = ov.Model([logits], [ids, mask], "saturating")
    return model_files(quantize_int8(model, windows, Int8Settings(overflow_fix=overflow_fix)))


@cache
def _onnx(overflow_fix: str) -> dict[str, bytes]:
    """Quantised by hand: activations u8, weights s8, between Quantize and Dequantize nodes."""
    from onnx import TensorProto, helper, numpy_helper

    table, tags, bias = _weights()
    most = 127 if overflow_fix == "disable" else 63
    constants: dict[str, NDArray[Any]] = {
        "table": table,
        "two": np.array([2]),
        "bias": bias,
        "scale": np.float32(1 / 255),
        "zero": np.uint8(0),
        "tags": (tags * most).astype(np.int8),
        "tags_scale": np.float32(1 / most),
        "tags_zero": np.int8(0),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "two"], ["wide"]),
        helper.make_node("Mul", ["rows", "wide"], ["masked"]),
        helper.make_node("QuantizeLinear", ["masked", "scale", "zero"], ["u8"]),
        helper.make_node("DequantizeLinear", ["u8", "scale", "zero"], ["again"]),
        helper.make_node("DequantizeLinear", ["tags", "tags_scale", "tags_zero"], ["weights"]),
        helper.make_node("MatMul", ["again", "weights"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "saturating",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["B", "T"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", "T", len(bias)])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return {"model.onnx": model.SerializeToString()}


if __name__ == "__main__":
    for engine in ("openvino", "onnxruntime"):
        for fix in FIXES:
            print(saturating_bundle(Path(sys.argv[1], f"{engine}-{fix}"), engine, fix).path)
