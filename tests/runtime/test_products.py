"""INT8 models on processors without INT8 instructions: products in float, of the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from clin_edge.core.errors import InputError
from clin_edge.core.manifest import Manifest
from clin_edge.core.notes import read_notes
from clin_edge.runtime.demo import SAMPLES
from clin_edge.runtime.ov_weights import look_up_in_8_bits, widen_weights
from clin_edge.runtime.pipeline import (
    DEFAULT_BUNDLE,
    FAST_BUNDLE,
    Pipeline,
    engines_by_speed,
    open_session,
)
from clin_edge.runtime.processor import Processor
from toy import TOY_MODELS, toy_bundle

SETS = ("AVX2", "AVX-512", "AVX512-VNNI", "AVX-VNNI", "AMX-INT8")


def x86(*there: str, untold: tuple[str, ...] = ()) -> Processor:
    has = {name: None if name in untold else name in there for name in SETS}
    return Processor("some", "x86_64", has)


@pytest.mark.parametrize(
    ("here", "expected"),
    [
        (x86("AVX2"), True),
        (x86("AVX2", "AVX-512"), False),
        (x86("AVX2", "AVX-VNNI"), False),
        (x86("AVX2", "AVX-512", "AVX512-VNNI"), False),
        (x86("AVX2", untold=("AVX-VNNI", "AVX512-VNNI", "AMX-INT8")), False),
        (x86(), False),
        (Processor("some", "aarch64", {"DOTPROD": True, "I8MM": None}), False),
        (Processor("some", "aarch64", {}), False),
    ],
    ids=str,
)
def test_float_is_preferred_where_all_is_told_and_only_avx2_is_there(here, expected) -> None:
    assert here.prefers_float is expected


@pytest.mark.parametrize(
    ("precision", "here", "first"),
    [
        ("int8", x86("AVX2"), "onnxruntime"),
        ("int8", x86("AVX2", "AVX-512", "AVX512-VNNI"), "openvino"),
        ("fp32", x86("AVX2"), "openvino"),
    ],
)
@pytest.mark.parametrize("engines", [("openvino", "onnxruntime"), ("onnxruntime", "openvino")])
def test_the_faster_engine_comes_first(tmp_path, precision, here, first, engines) -> None:
    manifest = toy_bundle(tmp_path / "b", *TOY_MODELS).manifest
    fields = {name: getattr(manifest, name) for name in Manifest.__slots__}
    several = Manifest(**{**fields, "precision": precision, "engines": engines})
    assert engines_by_speed(several, here)[0] == first
    one = Manifest(**{**fields, "precision": precision, "engines": engines[:1]})
    assert engines_by_speed(one, here) == engines[:1]


def quantised_model(rng: np.random.Generator) -> ov.Model:
    """Two products of 8-bit weights (one with a zero point), and a table that is looked up."""
    ids = ops.parameter([-1], np.int64, name="ids")
    table = ops.constant(rng.integers(-127, 127, (50, 8), dtype=np.int8))
    found = ops.gather(
        ops.multiply(ops.convert(table, "f32"), ops.constant(np.float32(0.1))), ids, 0
    )
    rounded = ops.fake_quantize(found, *map(np.float32, (-8, 8, -8, 8)), 256)

    def weights(shape: tuple[int, int], zero: int) -> ov.Node:
        wide = ops.convert(ops.constant(rng.integers(0, 255, shape, dtype=np.uint8)), "f32")
        scale = ops.constant(rng.random((shape[0], 1), dtype=np.float32))
        return ops.multiply(ops.subtract(wide, ops.constant(np.float32(zero))), scale)

    first = ops.matmul(rounded, weights((16, 8), 128), False, True)
    second = ops.matmul(first, ops.reshape(weights((16, 4), 3), [16, 4], False), False, False)
    plain = ops.matmul(second, ops.constant(rng.random((4, 4), dtype=np.float32)), False, False)
    square = ops.matmul(plain, ops.transpose(plain, [1, 0]), False, False)
    return ov.Model([square], [ids], "quantised")


def test_widened_weights_are_the_numbers_they_stood_for() -> None:
    ids = np.array([3, 1, 4, 1, 5, 9, 2, 6])

    def answer(model: ov.Model) -> np.ndarray:
        settings = {"INFERENCE_PRECISION_HINT": "f32", "LP_TRANSFORMS_MODE": "NO"}
        return ov.Core().compile_model(model, "CPU", settings)([ids])[0]

    as_it_was = quantised_model(np.random.default_rng(0))
    widened = quantised_model(np.random.default_rng(0))
    assert widen_weights(widened) == 2
    np.testing.assert_allclose(answer(widened), answer(as_it_was), rtol=1e-5)
    kinds = [node.get_type_name() for node in widened.get_ordered_ops()]
    assert kinds.count("Convert") == 1  # of the table
    assert widen_weights(widened) == 0


def looking_up(content, scale, shape: tuple[int, int] = (50, 8)) -> ov.Model:
    """A table of ``content`` numbers times ``scale``, looked up along its first axis."""
    ids = ops.parameter([-1, -1], np.int64, name="ids")
    table = ops.constant(np.random.default_rng(0).integers(0, 127, shape).astype(content))
    kind = "f16" if scale.dtype == np.float16 else "f32"
    scaled = ops.multiply(ops.convert(table, kind), ops.constant(scale))
    return ov.Model([ops.gather(scaled, ids, 0)], [ids], "table")


ROW_SCALES = np.random.default_rng(1).random((50, 1), dtype=np.float32)


@pytest.mark.parametrize(
    ("content", "scale"),
    [
        (np.int8, ROW_SCALES),
        (np.uint8, ROW_SCALES),
        (np.int8, np.float32(0.1)),
        (np.int8, np.full((1, 1), 0.1, np.float32)),
    ],
)
def test_rows_looked_up_in_8_bits_are_the_same_to_the_bit(content, scale) -> None:
    ids = np.array([[3, 1, 4], [0, 49, 9]])
    as_it_was, changed = (looking_up(content, scale) for _ in range(2))
    assert look_up_in_8_bits(changed) == 1
    answers = [ov.Core().compile_model(model, "CPU")([ids])[0] for model in (as_it_was, changed)]
    assert answers[0].tobytes() == answers[1].tobytes()
    sizes = {node.get_element_type().size for node in changed.get_ops() if is_table(node)}
    assert sizes == {1}
    assert look_up_in_8_bits(changed) == 0


def is_table(node: ov.Node) -> bool:
    shape = node.get_output_partial_shape(0)
    return shape.is_static and list(shape) == [50, 8]


@pytest.mark.parametrize(
    ("content", "scale", "shape"),
    [
        (np.int8, ROW_SCALES[:8, 0], (50, 8)),  # one a column
        (np.int8, ROW_SCALES, (1, 8)),  # one row becomes fifty
        (np.int32, ROW_SCALES, (50, 8)),
        (np.int8, ROW_SCALES[None], (50, 8)),  # another rank
        (np.int8, ROW_SCALES.astype(np.float16), (50, 8)),
    ],
)
def test_other_tables_are_left_alone(content, scale, shape) -> None:
    model = looking_up(content, scale, shape)
    before = [node.get_friendly_name() for node in model.get_ordered_ops()]
    assert look_up_in_8_bits(model) == 0
    assert [node.get_friendly_name() for node in model.get_ordered_ops()] == before


@pytest.mark.parametrize("folder", [DEFAULT_BUNDLE, FAST_BUNDLE], ids=["default", "fast"])
def test_no_table_of_a_bundle_is_made_float(folder) -> None:
    model = ov.Core().read_model(folder / "model.xml")
    assert look_up_in_8_bits(model) == 3  # words, positions, token types
    compiled = ov.Core().compile_model(model, "CPU").get_runtime_model()
    tables = {
        output.get_element_type().get_type_name()
        for node in compiled.get_ops()
        for output in node.outputs()
        if len(shape := output.get_partial_shape()) == 2
        and shape.is_static
        and shape[0].get_length() > 20_000
        and shape[1].get_length() > 1
    }
    assert tables == {"i8"}


@pytest.fixture
def with_products(monkeypatch):
    """The default bundle, its products done as named."""

    def open_it(products: str, **options) -> Pipeline:
        monkeypatch.setenv("CLIN_EDGE_PRODUCTS", products)
        return Pipeline.from_bundle(DEFAULT_BUNDLE, engine="openvino", **options)

    return open_it


def test_both_ways_find_the_same(with_products) -> None:
    notes = list(read_notes([str(SAMPLES)]))
    found = []
    for products in ("int8", "float"):
        read = with_products(products, threads=1).annotate(notes)
        found.append({(note.id, e.span, e.label) for note, entities in read for e in entities})
    shared = len(found[0] & found[1]) / len(found[0] | found[1])
    assert shared > 0.95


@pytest.mark.parametrize("options", [{"threads": 2}, {"batch_tokens": 64}, {"reuse": False}])
def test_in_float_too_records_are_the_same_to_the_byte(with_products, options) -> None:
    notes = list(read_notes([str(SAMPLES)]))
    one = with_products("float", threads=1).records(notes)
    other = with_products("float", **{"threads": 1, **options}).records(notes[::-1])
    assert [r.to_json() for r in one] == [r.to_json() for r in other][::-1]


def test_the_session_tells_how_products_are_done(with_products) -> None:
    bundle = with_products("int8").bundle
    assert "float" not in open_session(bundle, engine="openvino", threads=1).name
    bundle = with_products("float").bundle
    assert "float products" in open_session(bundle, engine="openvino", threads=1).name


def test_a_float_model_is_left_alone(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLIN_EDGE_PRODUCTS", "float")
    bundle = toy_bundle(tmp_path / "b", "openvino")
    assert bundle.manifest.precision == "fp32"
    assert "float" not in open_session(bundle, engine="openvino", threads=1).name


def test_another_choice_is_refused_in_one_line(with_products) -> None:
    with pytest.raises(InputError, match="CLIN_EDGE_PRODUCTS='bf16': expected int8 or float"):
        with_products("bf16")
