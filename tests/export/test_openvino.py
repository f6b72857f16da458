"""The exported model gives the student's logits; quantised, nearly so and always the same."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import nncf
import numpy as np
import openvino as ov
import pytest

from clin_edge.core.batching import Batch, pad
from clin_edge.core.bundle import Bundle
from clin_edge.core.labels import LabelScheme
from clin_edge.core.manifest import Manifest
from clin_edge.distill.student import Student, TorchSession
from clin_edge.export.calibrate import calibration_batches
from clin_edge.export.openvino import (
    Int8Settings,
    model_files,
    quantize_int8,
    quantized_share,
    to_openvino,
)
from clin_edge.runtime.ov import OpenVinoSession
from tiny import ATTENDING, KINDS, MAX_TOKENS, TYPES, tiny_student

# (B, T) of a batch: one token, one window, odd sizes, full ones, many.
SHAPES = ((1, 1), (1, MAX_TOKENS), (3, 7), (2, 16), (5, 33), (17, MAX_TOKENS))


def session_of(files: dict[str, bytes], *, threads: int = 1) -> OpenVinoSession:
    """The runtime's own session, on files that are in no bundle yet."""
    scheme = LabelScheme(TYPES)
    manifest = Manifest("m", "0", scheme, MAX_TOKENS, 8, ("openvino",), "fp32", {})
    return OpenVinoSession(Bundle(Path("none"), manifest, files, "sha256:0"), threads=threads)


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


# --- float ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ATTENDING)
def test_attention_reads_one_row_of_mask_for_all_tokens(kind: str, tmp_path: Path) -> None:
    model = to_openvino(tiny_student(tmp_path, kind))
    masks = [
        node.input_value(3).get_partial_shape()
        for node in model.get_ops()
        if node.get_type_name() == "ScaledDotProductAttention"
    ]
    assert [str(mask) for mask in masks] == ["[?,1,1,?]"] * 2


@pytest.fixture(scope="module")
def floats(student: Student) -> dict[str, bytes]:
    """The student's model files in float."""
    return model_files(to_openvino(student))


@pytest.mark.parametrize("kind", KINDS)
def test_every_architecture_gives_torch_s_logits_at_any_shape(kind: str, tmp_path: Path) -> None:
    student = tiny_student(tmp_path, kind)
    ours = session_of(model_files(to_openvino(student)))
    torch_ours = TorchSession(student.model)
    for shape in SHAPES:
        batch = random_batch(student, shape)
        theirs = torch_ours.run(batch)
        logits = ours.run(batch)
        assert logits.dtype == np.float32
        assert worst(logits, theirs, batch.attention_mask) < 1e-4
        assert np.abs(theirs).max() > 1e-3  # so that the line above says something


def test_the_model_s_inputs_and_output_are_named_and_of_any_size(student: Student) -> None:
    model = to_openvino(student)
    inputs = {
        port.get_any_name(): (port.get_partial_shape(), port.get_element_type())
        for port in model.inputs
    }
    anything = ov.PartialShape([-1, -1])
    assert inputs == {
        "input_ids": (anything, ov.Type.i64),
        "attention_mask": (anything, ov.Type.i64),
    }
    (output,) = model.outputs
    assert output.get_names() == {"logits"}
    assert output.get_partial_shape()[2] == len(student.scheme.tags)


def test_what_is_behind_the_mask_changes_nothing_that_matters(student: Student, floats) -> None:
    session = session_of(floats)
    batch = random_batch(student, (4, 20))
    noise = np.random.default_rng(1).integers(5, 170, batch.input_ids.shape)
    other = np.where(batch.attention_mask == 1, batch.input_ids, noise)
    spoilt = Batch(other, batch.attention_mask, batch.rows)
    assert worst(session.run(batch), session.run(spoilt), batch.attention_mask) < 1e-5


def test_converting_leaves_the_student_as_it_was(student: Student) -> None:
    batch = random_batch(student, (3, 16))
    before = TorchSession(student.model).run(batch)
    to_openvino(student)
    assert TorchSession(student.model).run(batch).tobytes() == before.tobytes()


# --- files ---------------------------------------------------------------------------------------


def places_of_this_machine(*more: Path) -> Iterable[bytes]:
    here = {Path.home(), Path.cwd(), Path(tempfile.gettempdir()), Path(ov.__file__).parent, *more}
    return [str(place).encode() for place in here if len(place.parts) > 1]


@pytest.mark.parametrize("which", ["int8", "fp32"])
def test_no_file_of_a_bundle_names_a_place_on_this_machine(which, request, student_folder) -> None:
    packed = request.getfixturevalue(which)
    manifest = (packed.bundle.path / "manifest.json").read_bytes()
    for content in (*packed.bundle.files.values(), manifest):
        for place in places_of_this_machine(student_folder):
            assert place not in content


def test_weights_are_kept_in_float32(student: Student, floats) -> None:
    assert set(floats) == {"model.xml", "model.bin"}
    n_weights = sum(p.numel() for p in student.model.parameters())
    assert len(floats["model.bin"]) > 3.9 * n_weights
    assert b'element_type="f16"' not in floats["model.xml"]


# --- INT8 ----------------------------------------------------------------------------------------


def opened(files: Mapping[str, bytes]) -> ov.Model:
    weights = np.frombuffer(files["model.bin"], dtype=np.uint8)
    return ov.Core().read_model(files["model.xml"], ov.Tensor(weights))


def test_nearly_every_number_is_in_8_bits(int8, student: Student, floats) -> None:
    share = quantized_share(opened(int8.bundle.files))
    assert share > 0.9
    assert int8.bundle.manifest.quantization["openvino"]["share_of_numbers_in_8_bits"] == round(
        share, 4
    )
    assert quantized_share(opened(floats)) < 0.01
    assert len(int8.bundle.files["model.bin"]) < 0.4 * 4 * sum(
        p.numel() for p in student.model.parameters()
    )


def test_the_share_counts_numbers_not_tensors() -> None:
    def constant(n: int, kind: type) -> ov.Node:
        return ov.opset13.convert(ov.opset13.constant(np.ones(n, dtype=kind)), "f32")

    def model(*parts: ov.Node) -> ov.Model:
        return ov.Model([ov.opset13.concat(list(parts), axis=0)], [])

    assert quantized_share(model(constant(30, np.int8), constant(10, np.float32))) == 0.75
    assert quantized_share(model(constant(30, np.uint8))) == 1.0
    assert quantized_share(model(constant(5, np.float16), constant(5, np.int32))) == 0.0


def test_quantised_logits_are_near_the_student_s(int8, student: Student, notes) -> None:
    session = session_of(dict(int8.bundle.files))
    errors, sizes = [], []
    for batch in calibration_batches(notes, student.encoder):
        theirs, ours = TorchSession(student.model).run(batch), session.run(batch)
        real = batch.attention_mask == 1
        errors.append(np.abs(ours - theirs)[real])
        sizes.append(np.abs(theirs)[real])
        assert (ours.argmax(-1) == theirs.argmax(-1))[real].mean() > 0.9
    assert np.concatenate(errors).mean() < 0.05 * np.concatenate(sizes).mean()


def windows_of(student: Student, notes) -> list[np.ndarray]:
    """The real ids of every window of the notes."""
    made = calibration_batches(notes, student.encoder)
    return [batch.input_ids[batch.attention_mask == 1] for batch in made]


@pytest.mark.parametrize(("which", "tolerance"), [("int8", 0.0), ("fp32", 1e-5)])
def test_company_padding_and_threads_do_not_change_a_window_s_logits(
    which: str, tolerance: float, request, student: Student, notes
) -> None:
    """INT8 sums are whole numbers: its answers are the same to the last bit, float's nearly so."""
    files = dict(request.getfixturevalue(which).bundle.files)
    session, two_threads = session_of(files), session_of(files, threads=2)
    windows = windows_of(student, notes)

    def run(rows: list[np.ndarray], width: int, ours: OpenVinoSession = session):
        ids = pad(rows, rows=range(len(rows)), length=width, pad_id=student.encoder.pad_id)
        return list(ours.run(ids))

    together = run(windows, MAX_TOKENS)
    backwards = run(windows[::-1], MAX_TOKENS)[::-1]
    for i, ids in enumerate(windows):
        real = slice(len(ids))
        (alone,) = run([ids], MAX_TOKENS)
        (narrow,) = run([ids], len(ids))
        (threaded,) = run([ids], MAX_TOKENS, two_threads)
        for other in (together[i], backwards[i], narrow, threaded):
            assert np.abs(other[real] - alone[real]).max() <= tolerance


def test_settings_and_windows_reach_nncf_and_its_bars_stay_off_stdout(
    student: Student, notes, monkeypatch, capsys
) -> None:
    asked: dict[str, object] = {}

    def quantize(model: object, data: nncf.Dataset, **how: object) -> object:
        print("Statistics collection")
        asked.update(how, data=list(data.get_data()))
        return model

    monkeypatch.setattr(nncf, "quantize", quantize)
    few = calibration_batches(notes, student.encoder, n_windows=3)
    quantize_int8(to_openvino(student), few, Int8Settings("performance", "disable"))
    assert capsys.readouterr().out == ""
    assert [item["input_ids"].tolist() for item in asked["data"]] == [
        batch.input_ids.tolist() for batch in few
    ]
    assert all(set(item) == {"input_ids", "attention_mask"} for item in asked["data"])
    assert asked["subset_size"] == 3
    assert asked["model_type"] == nncf.ModelType.TRANSFORMER
    assert asked["preset"] == nncf.QuantizationPreset.PERFORMANCE
    assert asked["advanced_parameters"].overflow_fix == nncf.OverflowFix.DISABLE
