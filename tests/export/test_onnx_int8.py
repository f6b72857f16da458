"""INT8 as ONNX: static, laid out for speed, near the student, and the same in any company."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import nncf
import numpy as np
import onnx
import onnxruntime
import openvino as ov
import pytest
import torch
from onnx import TensorProto

from clin_edge.core.batching import Session, pad
from clin_edge.core.bundle import Bundle
from clin_edge.core.errors import InputError
from clin_edge.core.labels import LabelScheme
from clin_edge.core.manifest import Manifest
from clin_edge.core.onnx_scan import has_external_data
from clin_edge.core.predict import Predictor
from clin_edge.distill.student import Student, TorchSession
from clin_edge.export import onnx_model
from clin_edge.export.calibrate import calibration_batches
from clin_edge.export.onnx_model import quantize_int8_onnx, quantized_share_onnx, to_onnx
from clin_edge.export.openvino import Int8Settings
from clin_edge.runtime.ort import OrtSession
from tiny import MAX_TOKENS, TYPES


def session_of(model: bytes, *, threads: int = 1) -> OrtSession:
    """The runtime's own session, on a file that is in no bundle yet."""
    scheme = LabelScheme(TYPES)
    manifest = Manifest("m", "0", scheme, MAX_TOKENS, 8, ("onnxruntime",), "int8", {})
    files = {"model.onnx": model}
    return OrtSession(Bundle(Path("none"), manifest, files, "sha256:0"), threads=threads)


def spans(student: Student, session: Session, notes: list) -> list:
    readings = Predictor(student.encoder, student.scheme, session).read(notes)
    return [[(e.span, e.label) for e in reading.entities] for reading in readings]


@pytest.fixture(scope="module")
def batches(student: Student, notes) -> list:
    return calibration_batches(notes, student.encoder)


@pytest.fixture(scope="module")
def model(student: Student, batches) -> bytes:
    """The student's model in INT8."""
    return quantize_int8_onnx(to_onnx(student), batches, Int8Settings())


@pytest.fixture(scope="module")
def graph(model: bytes) -> onnx.GraphProto:
    proto = onnx.load_from_string(model)
    onnx.checker.check_model(proto, full_check=True)
    return proto.graph


def of_type(graph: onnx.GraphProto, *types: str) -> list[onnx.NodeProto]:
    return [node for node in graph.node if node.op_type in types]


def tensors(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in graph.initializer}


# --- what the file holds -------------------------------------------------------------------------


def in_8_bits(graph: onnx.GraphProto) -> dict[str, tuple[onnx.NodeProto, onnx.NodeProto]]:
    """Products by name whose sides are both read from bytes: the activation's and the weight's."""
    makers = {out: node for node in graph.node for out in node.output}
    pairs = {n.name: [makers.get(name) for name in n.input] for n in of_type(graph, "MatMul")}
    return {
        name: (pair[0], pair[1])
        for name, pair in pairs.items()
        if all(side is not None and side.op_type == "DequantizeLinear" for side in pair)
    }


def linear_layers(student: Student) -> set[str]:
    """The names that the exporter gives the products of the student's linear layers."""
    modules = student.model.named_modules()
    layers = [name for name, part in modules if isinstance(part, torch.nn.Linear)]
    return {re.sub(r"/(\d+)", r".\1", f"/{name.replace('.', '/')}/MatMul") for name in layers}


def test_every_linear_layer_is_in_8_bits_with_ranges_fixed_in_the_file(student, graph) -> None:
    """Static: a scale computed from what is being read would make windows depend on neighbours."""
    known = tensors(graph)
    assert {node.domain for node in graph.node} == {""}
    assert not of_type(graph, "DynamicQuantizeLinear")
    assert set(in_8_bits(graph)) == linear_layers(student)
    for activation, weight in in_8_bits(graph).values():
        assert known[weight.input[0]].data_type == TensorProto.INT8
        assert len(known[weight.input[1]].dims) == 1  # a scale for each column
        assert known[activation.input[2]].data_type == TensorProto.UINT8
    for node in of_type(graph, "QuantizeLinear"):
        assert {*node.input[1:]} <= set(known)


def test_settings_decide_which_layers_stay_in_float_and_how_large_weights_are(
    student, batches, graph
) -> None:
    def largest(graph: onnx.GraphProto) -> int:
        known = tensors(graph)
        weights = [known[weight.input[0]] for _, weight in in_8_bits(graph).values()]
        return max(int(np.abs(onnx.numpy_helper.to_array(w).astype(int)).max()) for w in weights)

    layers = ("bert.encoder.layer.1.output.dense", "classifier")
    settings = Int8Settings(overflow_fix="disable", float_layers=layers)
    other = onnx.load_from_string(quantize_int8_onnx(to_onnx(student), batches[:2], settings)).graph
    left = {"/bert/encoder/layer.1/output/dense/MatMul", "/classifier/MatMul"}
    assert linear_layers(student) - set(in_8_bits(other)) == left
    assert largest(graph) == 64
    assert largest(other) == 127


def test_embeddings_are_looked_up_in_8_bits_and_scaled_afterwards(student, graph) -> None:
    known = tensors(graph)
    sizes = {
        tuple(part.weight.shape)
        for part in student.model.modules()
        if isinstance(part, torch.nn.Embedding)
    }
    looked_up = [known[n.input[0]] for n in of_type(graph, "Gather") if n.input[0] in known]
    in_bytes = {tuple(t.dims) for t in looked_up if t.data_type == TensorProto.INT8}
    assert in_bytes == sizes
    dequantized = {n.input[0] for n in of_type(graph, "DequantizeLinear")}
    assert not dequantized & {t.name for t in looked_up}
    assert set(known) <= {name for node in graph.node for name in node.input}  # nothing left over


def test_nearly_every_number_is_in_8_bits_and_none_is_elsewhere(model) -> None:
    assert quantized_share_onnx(model) > 0.9
    assert not has_external_data(model)


def test_the_file_names_no_place_of_this_machine(model) -> None:
    for place in (Path.home(), Path.cwd(), Path(tempfile.gettempdir()), Path(onnx.__file__).parent):
        if len(place.parts) > 1:
            assert str(place).encode() not in model


def test_the_share_counts_numbers_not_tensors() -> None:
    def share(*arrays: np.ndarray) -> float:
        held = [onnx.numpy_helper.from_array(a, str(i)) for i, a in enumerate(arrays)]
        return quantized_share_onnx(
            onnx.helper.make_model(
                onnx.helper.make_graph([], "g", [], [], held)
            ).SerializeToString()
        )

    assert share(np.ones(30, np.int8), np.ones(10, np.float32)) == 0.75
    assert share(np.ones((5, 6), np.uint8)) == 1.0
    assert share(np.ones(5, np.float16), np.array(1)) == 0.0


def test_the_same_windows_give_the_same_bytes(student, batches, model) -> None:
    assert quantize_int8_onnx(to_onnx(student), batches, Int8Settings()) == model


# --- what it answers -----------------------------------------------------------------------------


def test_quantised_logits_are_near_the_student_s(student: Student, batches, model, notes) -> None:
    session, reference = session_of(model), TorchSession(student.model)
    errors, sizes = [], []
    for batch in batches:
        ours, theirs = session.run(batch), reference.run(batch)
        real = batch.attention_mask == 1
        errors.append(np.abs(ours - theirs)[real])
        sizes.append(np.abs(theirs)[real])
        assert (ours.argmax(-1) == theirs.argmax(-1))[real].mean() > 0.9
    assert np.concatenate(errors).mean() < 0.05 * np.concatenate(sizes).mean()
    found, wanted = spans(student, session, notes), spans(student, reference, notes)
    shared = sum(len({*a} & {*b}) for a, b in zip(found, wanted, strict=True))
    assert shared > 0.95 * sum(map(len, wanted)) > 20


def test_layout_changes_no_number(student: Student, batches, model, monkeypatch) -> None:
    """Operator by operator, nothing joined: what NNCF wrote, and what became of it."""
    monkeypatch.setattr(onnx_model, "_make_activations_unsigned", lambda _: None)
    monkeypatch.setattr(onnx_model, "_scale_rows_after_lookup", lambda _: None)
    as_nncf_left_it = quantize_int8_onnx(to_onnx(student), batches, Int8Settings())
    assert as_nncf_left_it != model
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    sessions = [onnxruntime.InferenceSession(m, options) for m in (as_nncf_left_it, model)]
    for batch in batches[:5]:
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        before, after = (session.run(["logits"], inputs)[0] for session in sessions)
        np.testing.assert_allclose(after, before, atol=1e-5)


def test_openvino_reads_the_same_file(batches, model) -> None:
    ours = session_of(model)
    theirs = ov.Core().compile_model(
        ov.Core().read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    for batch in batches[:5]:
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        logits = theirs(inputs)["logits"]
        real = batch.attention_mask == 1
        assert (logits.argmax(-1) == ours.run(batch).argmax(-1))[real].mean() > 0.97


def test_company_padding_and_threads_do_not_change_a_window_s_logits(
    student: Student, batches, model
) -> None:
    session, two_threads = session_of(model), session_of(model, threads=2)
    windows = [batch.input_ids[batch.attention_mask == 1] for batch in batches]
    windows += [windows[0][:1], windows[0][:2], windows[1][:5]]

    def run(rows: list[np.ndarray], width: int, ours: Session = session) -> list[np.ndarray]:
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
            assert np.abs(other[real] - alone[real]).max() <= 1e-4


# --- how it is asked for -------------------------------------------------------------------------


def test_settings_and_windows_reach_nncf_and_its_bars_stay_off_stdout(
    student: Student, batches, monkeypatch, capsys
) -> None:
    asked: dict[str, object] = {}

    def quantize(model: object, data: nncf.Dataset, **how: object) -> object:
        print("Statistics collection")
        asked.update(how, data=list(data.get_data()))
        return model

    monkeypatch.setattr(nncf, "quantize", quantize)
    few = batches[:3]
    made = quantize_int8_onnx(to_onnx(student), few, Int8Settings("performance", "disable"))
    assert quantized_share_onnx(made) == 0
    assert capsys.readouterr().out == ""
    assert [item["input_ids"].tolist() for item in asked["data"]] == [
        batch.input_ids.tolist() for batch in few
    ]
    assert all(set(item) == {"input_ids", "attention_mask"} for item in asked["data"])
    assert asked["subset_size"] == 3
    assert asked["model_type"] == nncf.ModelType.TRANSFORMER
    assert asked["preset"] == nncf.QuantizationPreset.PERFORMANCE
    assert asked["advanced_parameters"].overflow_fix == nncf.OverflowFix.DISABLE
    assert asked["advanced_parameters"].smooth_quant_alphas.matmul == Int8Settings().smooth_quant
    assert len(asked["ignored_scope"].patterns) == 2 * student.model.config.num_hidden_layers


def test_nothing_to_calibrate_on_is_refused() -> None:
    with pytest.raises(InputError, match="--calibrate"):
        quantize_int8_onnx(b"", [], Int8Settings())
