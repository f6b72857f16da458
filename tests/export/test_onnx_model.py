"""The ONNX file gives the student's logits in float; what it holds is named and repeatable."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from clin_edge.core.batching import Batch, pad
from clin_edge.core.bundle import Bundle
from clin_edge.core.labels import LabelScheme
from clin_edge.core.manifest import Manifest
from clin_edge.core.onnx_scan import has_external_data
from clin_edge.core.predict import Predictor
from clin_edge.distill.config import ScratchSettings
from clin_edge.distill.start import start_student
from clin_edge.distill.student import Student, TorchSession
from clin_edge.export.onnx_model import OPSET, quantized_share_onnx, to_onnx
from clin_edge.runtime.ort import OrtSession
from tiny import KINDS, MAX_TOKENS, TYPES, invented_set, tiny_recipe, tiny_student

# (B, T) of a batch: one token, one window, odd sizes, full ones, many.
SHAPES = ((1, 1), (1, MAX_TOKENS), (3, 7), (2, 16), (5, 33), (17, MAX_TOKENS))
SCRATCH = ScratchSettings(layers=2, hidden=32, heads=2, feed_forward=64, vocabulary_size=300)


def session_of(model: bytes, *, threads: int = 1) -> OrtSession:
    """The runtime's own session, on a file that is in no bundle yet."""
    scheme = LabelScheme(TYPES)
    manifest = Manifest("m", "0", scheme, MAX_TOKENS, 8, ("onnxruntime",), "fp32", {})
    files = {"model.onnx": model}
    return OrtSession(Bundle(Path("none"), manifest, files, "sha256:0"), threads=threads)


def random_batch(student: Student, shape: tuple[int, int], seed: int = 0) -> Batch:
    """Rows of random lengths, the first one full."""
    rng = np.random.default_rng(seed)
    n_rows, width = shape
    lengths = rng.integers(1, width + 1, n_rows)
    lengths[0] = width
    rows = [rng.integers(5, 170, n) for n in lengths]
    return pad(rows, rows=range(n_rows), length=width, pad_id=student.encoder.pad_id)


def worst(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.abs(a - b)[mask == 1].max())


def spans(student: Student, session: object, notes: list) -> list:
    predictor = Predictor(student.encoder, student.scheme, session, crf=student.crf)
    return [[(e.span, e.label) for e in reading.entities] for reading in predictor.read(notes)]


@pytest.fixture(scope="module")
def model(student: Student) -> bytes:
    """The student's model in float."""
    return to_onnx(student)


@pytest.mark.parametrize("kind", [*KINDS, "scratch"])
def test_every_architecture_gives_torch_s_logits_at_any_shape(kind: str, tmp_path: Path) -> None:
    notes = [item.note for item in invented_set(8, seed=3)]
    if kind == "scratch":
        recipe = tiny_recipe(scratch=SCRATCH)
        student = start_student(recipe, "scratch", [note.text for note in notes])
    else:
        student = tiny_student(tmp_path, kind)
    ours, theirs = session_of(to_onnx(student)), TorchSession(student.model)
    for shape in SHAPES:
        batch = random_batch(student, shape)
        logits, wanted = ours.run(batch), theirs.run(batch)
        assert worst(logits, wanted, batch.attention_mask) < 1e-4
        assert np.abs(wanted).max() > 1e-3  # so that the line above says something
    assert spans(student, ours, notes) == spans(student, theirs, notes)


def test_a_trained_student_finds_the_same_spans(student: Student, model, notes) -> None:
    found = spans(student, session_of(model), notes)
    assert found == spans(student, TorchSession(student.model), notes)
    assert sum(map(len, found)) > 20


def test_inputs_output_axes_and_operators_are_named_and_standard(student: Student, model) -> None:
    proto = onnx.load_from_string(model)
    onnx.checker.check_model(proto, full_check=True)
    ports = {
        port.name: (
            port.type.tensor_type.elem_type,
            [axis.dim_param or axis.dim_value for axis in port.type.tensor_type.shape.dim],
        )
        for port in (*proto.graph.input, *proto.graph.output)
    }
    ids = (onnx.TensorProto.INT64, ["batch", "tokens"])
    n_tags = len(student.scheme.tags)
    logits = (onnx.TensorProto.FLOAT, ["batch", "tokens", n_tags])
    assert ports == {"input_ids": ids, "attention_mask": ids, "logits": logits}
    assert [(used.domain, used.version) for used in proto.opset_import] == [("", OPSET)]
    assert {node.domain for node in proto.graph.node} == {""}
    assert not has_external_data(model)


def test_weights_are_kept_in_float32(student: Student, model) -> None:
    assert len(model) > 4 * sum(p.numel() for p in student.model.parameters())
    assert quantized_share_onnx(model) == 0


def test_the_file_names_no_place_of_this_machine(model, student_folder) -> None:
    here = {Path.home(), Path.cwd(), Path(tempfile.gettempdir()), Path(torch.__file__).parent}
    for place in {*here, student_folder, Path(onnxruntime.__file__).parent}:
        if len(place.parts) > 1:
            assert str(place).encode() not in model


def test_the_same_student_gives_the_same_bytes_and_stays_as_it_was(student: Student, model) -> None:
    batch = random_batch(student, (3, 16))
    before = TorchSession(student.model).run(batch)
    attention = student.model.config._attn_implementation
    student.model.train()
    assert to_onnx(student) == model
    assert student.model.config._attn_implementation == attention != "eager"
    assert TorchSession(student.model).run(batch).tobytes() == before.tobytes()
