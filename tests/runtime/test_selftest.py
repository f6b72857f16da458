"""The self-test: passes what always answers alike and rightly, and finds out everything else."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from clin_edge.core.batching import Batch, Logits, Session
from clin_edge.core.bundle import Bundle
from clin_edge.core.crf import CRF_FILE
from clin_edge.core.errors import BundleError, MissingInstallError
from clin_edge.runtime import selftest as module
from clin_edge.runtime.pipeline import Pipeline, open_session
from clin_edge.runtime.selftest import (
    Change,
    Invariance,
    check_invariance,
    selftest,
)
from saturating import NOTES, ToyNumpy, golden
from toy import ToySession, bytes_json, toy_bundle, toy_crf, toy_encoder, toy_onnx

BOTH = ("openvino", "onnxruntime")
BATCHES = tuple(f"in batches of up to {n} tokens" for n in ("256", "1,024", "4,096"))
ORDERS = ("in reverse order", "in mixed order")
PADDINGS = ("with some padding", "with most padding")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A toy bundle for both engines, with golden notes."""
    folder = tmp_path_factory.mktemp("selftest") / "b"
    return toy_bundle(folder, *BOTH, files={"golden.jsonl": golden(ToyNumpy())})


class Odd(Session):
    """The toy network, its logits changed by ``change(logits, batch, number of the call)``."""

    def __init__(self, change: Callable[[Logits, Batch, int], object]) -> None:
        self._change, self._calls = change, 0

    def run(self, batch: Batch) -> Logits:
        """Logits (B, T, C)."""
        logits = ToyNumpy().run(batch)
        self._calls += 1
        self._change(logits, batch, self._calls)
        return logits


def add(amount: Callable[[Batch, int], float]) -> Odd:
    """Adds ``amount(batch, number of the call)`` to every logit of the tag O."""

    def change(logits: Logits, batch: Batch, calls: int) -> None:
        logits[..., 0] += amount(batch, calls)

    return Odd(change)


def by_row(logits: Logits, _batch: Batch, _calls: int) -> None:
    logits[1:, :, 0] += 0.01


def failed(invariance: Invariance) -> set[str]:
    return {change.what for change in invariance.changes if not change.passed}


# --- invariance ----------------------------------------------------------------------------------


def test_a_network_that_always_answers_alike_passes(bundle: Bundle) -> None:
    result = check_invariance(bundle, ToyNumpy(), NOTES, others={"elsewhere": ToyNumpy()})
    assert [change.what for change in result.changes] == [
        *BATCHES,
        *ORDERS,
        *PADDINGS,
        "elsewhere",
    ]
    assert {(c.max_logit_change, c.spans_changed, c.records_changed) for c in result.changes} == {
        (0.0, 0, 0)
    }
    assert result.passed
    assert result.max_logit_change == 0
    assert (result.notes, result.windows) == (
        len(NOTES),
        sum(len(toy_encoder().encode(note).windows) for note in NOTES),
    )


def test_dependence_on_the_batch_is_found(bundle: Bundle) -> None:
    result = check_invariance(bundle, add(lambda batch, _: 0.01 * (len(batch.rows) > 1)), NOTES)
    assert failed(result) == {*BATCHES, *ORDERS, *PADDINGS}
    assert result.max_logit_change == pytest.approx(0.01, rel=1e-3)
    assert not result.passed


def test_dependence_on_a_big_batch_only_is_found(bundle: Bundle) -> None:
    many = [replace(NOTES[0], id=str(i), text="fever") for i in range(130)]
    assert max(len(batch.rows) for batch in batches_of(bundle, many, 1024)) == 64
    odd = add(lambda batch, _: len(batch.rows) > 64)
    assert failed(check_invariance(bundle, odd, many)) == {BATCHES[-1]}


def batches_of(bundle: Bundle, notes, batch_tokens: int) -> list[Batch]:
    seen: list[Batch] = []
    spy = Odd(lambda _logits, batch, _calls: seen.append(batch))
    list(Pipeline(bundle, spy, batch_tokens=batch_tokens).predictor.read(notes))
    return seen


def test_dependence_on_the_place_in_the_batch_is_found(bundle: Bundle) -> None:
    assert failed(check_invariance(bundle, Odd(by_row), NOTES)) >= {*BATCHES, *ORDERS}


def test_dependence_on_who_comes_first_is_found_by_order_alone(bundle: Bundle) -> None:
    """The usual order hides it."""
    pair = [replace(NOTES[0], id=text, text=text) for text in ("fever", "no cough")]
    (usual,) = batches_of(bundle, pair, 1024)

    def change(logits: Logits, batch: Batch, _calls: int) -> None:
        if batch.input_ids.tolist() == usual.input_ids[::-1].tolist():
            logits[..., 0] += 0.01

    found = failed(check_invariance(bundle, Odd(change), pair))
    assert "in reverse order" in found
    assert found <= set(ORDERS)


@pytest.mark.parametrize(("at_least", "expected"), [(17, PADDINGS), (25, PADDINGS[1:])])
def test_dependence_on_padding_is_found(tmp_path: Path, at_least: int, expected) -> None:
    # Windows of up to 40 tokens, so that some padding is not yet most padding.
    files = {"golden.jsonl": golden(ToyNumpy())}
    bundle = toy_bundle(tmp_path / "b", max_tokens=40, files=files)
    short = [note for note in NOTES if len(note.text) < 40]
    assert {b.input_ids.shape[1] for b in batches_of(bundle, short, 1)} == {16}
    grown = 16 if at_least == 17 else 32
    odd = add(lambda batch, _: 0.01 * (batch.input_ids.shape[1] > grown))
    assert failed(check_invariance(bundle, odd, short)) == set(expected)


def test_padding_is_the_tokenizer_s_and_stays_within_what_the_network_reads(tmp_path) -> None:
    files = {"tokenizer.json": bytes_json()}  # its padding is token 1
    bundle = toy_bundle(tmp_path / "b", max_tokens=40, files=files)
    seen: list[Batch] = []

    class Spy(ToySession):
        def run(self, batch: Batch) -> Logits:
            seen.append(batch)
            return super().run(batch)

    assert check_invariance(bundle, Spy(), NOTES).passed
    assert max(batch.input_ids.shape[1] for batch in seen) == 40
    assert {i for b in seen for i in b.input_ids[b.attention_mask == 0].tolist()} == {1}


def test_an_answer_that_drifts_from_call_to_call_is_found(bundle: Bundle) -> None:
    result = check_invariance(bundle, add(lambda _, calls: calls * 1e-3), NOTES)
    assert failed(result) == {*BATCHES, *ORDERS, *PADDINGS}


def test_another_session_that_answers_otherwise_is_found(bundle: Bundle) -> None:
    odd = add(lambda *_: 0.5)
    others = {"with 1 thread": ToyNumpy(), "with 2 threads": odd}
    result = check_invariance(bundle, ToyNumpy(), NOTES, others=others)
    assert failed(result) == {"with 2 threads"}
    assert result.changes[-1].max_logit_change == 0.5


@pytest.mark.parametrize(("amount", "passed"), [(0.9e-4, True), (1.1e-4, False)])
def test_the_limit_is_a_ten_thousandth(bundle: Bundle, amount: float, passed: bool) -> None:
    other = add(lambda *_: amount)
    result = check_invariance(bundle, ToyNumpy(), NOTES, others={"other": other})
    assert result.changes[-1].spans_changed == 0
    assert result.passed == passed


@pytest.mark.parametrize("tags", [[6, 0, 1, 2, 3, 4, 5], [0, 3, 4, 1, 2, 5, 6]])
def test_another_span_or_label_fails_however_small_the_change(bundle: Bundle, tags) -> None:
    def tiny(logits: Logits, _batch: Batch, _calls: int) -> None:
        logits *= 1e-6

    def mixed(logits: Logits, _batch: Batch, _calls: int) -> None:
        logits[...] = logits[..., tags] * 1e-6

    result = check_invariance(bundle, Odd(tiny), NOTES, others={"other": Odd(mixed)})
    (change,) = (c for c in result.changes if not c.passed)
    assert change.max_logit_change < 1e-4
    assert 0 < change.spans_changed <= change.records_changed <= len(NOTES)


def test_a_score_that_moves_in_its_last_decimal_is_counted_but_is_no_failure(bundle) -> None:
    def soft(logits: Logits, _batch: Batch, _calls: int) -> None:
        logits /= 20

    def softer(logits: Logits, _batch: Batch, _calls: int) -> None:
        logits /= 20
        logits[..., 0] += 0.9e-4

    result = check_invariance(bundle, Odd(soft), NOTES, others={"other": Odd(softer)})
    assert result.passed
    assert result.changes[-1].records_changed > 0
    assert {c.records_changed for c in result.changes[:-1]} == {0}


@pytest.mark.parametrize(
    ("change", "passed"),
    [
        (Change("x", 1e-4, 0, 0), True),
        (Change("x", 1e-4, 0, 5), True),
        (Change("x", 1.0001e-4, 0, 0), False),
        (Change("x", float("nan"), 0, 0), False),
        (Change("x", 0.0, 1, 1), False),
    ],
)
def test_what_a_change_must_be_to_pass(change: Change, passed: bool) -> None:
    assert change.passed == passed


def test_a_dynamically_quantised_model_is_refused(tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    plain, dynamic = tmp_path / "plain.onnx", tmp_path / "dynamic.onnx"
    plain.write_bytes(toy_onnx()["model.onnx"])
    quantize_dynamic(plain, dynamic, op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8)
    files = {"model.onnx": dynamic.read_bytes(), "golden.jsonl": golden(ToyNumpy())}
    assert b"DynamicQuantizeLinear" in files["model.onnx"]
    bundle = toy_bundle(tmp_path / "b", "onnxruntime", files=files, precision="int8")
    (result,) = selftest(bundle, threads=1).engines
    assert result.invariance is not None
    assert failed(result.invariance) >= {*BATCHES, *ORDERS}
    assert result.invariance.max_logit_change > 1e-3
    assert not result.passed


# --- the whole of it -----------------------------------------------------------------------------


@pytest.mark.parametrize("crf", [False, True])
def test_a_good_bundle_passes_on_both_engines(tmp_path: Path, crf: bool) -> None:
    tables = toy_crf() if crf else None
    files = {"golden.jsonl": golden(ToyNumpy(), crf=tables)}
    if tables is not None:
        files[CRF_FILE] = tables.to_npz()
    bundle = toy_bundle(tmp_path / "b", *BOTH, files=files, gate={"golden_agreement": 1.0})
    report = selftest(bundle, threads=1)
    assert report.passed
    assert report.bundle == bundle.id
    assert report.not_tried == {}
    assert [result.engine for result in report.engines] == list(BOTH)
    for result in report.engines:
        assert result.golden is not None
        assert result.golden.notes == len(NOTES)
        assert result.golden.shared == result.golden.found == result.golden.expected > 40
        assert result.invariance is not None
        assert result.invariance.changes[-1].what == "with 2 threads"
        assert result.invariance.max_logit_change == 0


@pytest.mark.parametrize(("threads", "others"), [(1, {2}), (2, {1}), (3, {1, 2})])
def test_other_numbers_of_threads_are_tried(
    bundle: Bundle, monkeypatch, threads: int, others: set[int]
) -> None:
    asked = []

    def spy(_: Bundle, *, engine: str, threads: int, **_keep: bool):
        asked.append((engine, threads))
        return ToyNumpy()

    monkeypatch.setattr(module, "open_session", spy)
    (result,) = selftest(bundle, "openvino", threads=threads).engines
    assert asked[0] == ("openvino", threads)
    assert set(asked[1:]) == {("openvino", n) for n in others}
    assert result.invariance is not None
    said = {c.what for c in result.invariance.changes[-len(others) :]}
    assert said == {{1: "with 1 thread", 2: "with 2 threads"}[n] for n in others}


def test_threads_are_as_many_as_the_process_may_use(bundle: Bundle, monkeypatch) -> None:
    monkeypatch.setenv("CLIN_EDGE_THREADS", "3")
    asked = []

    def spy(bundle: Bundle, *, engine: str, threads: int, **_keep: bool):
        asked.append(threads)
        return open_session(bundle, engine=engine, threads=1)

    monkeypatch.setattr(module, "open_session", spy)
    selftest(bundle, "openvino")
    assert asked == [3, 1, 2]


def test_each_golden_note_is_cut_for_the_sake_of_time(tmp_path: Path) -> None:
    text = "patient takes metformin daily for asthma. " * 100
    notes = [replace(NOTES[0], id=str(i), text=text) for i in range(6)]
    files = {"golden.jsonl": golden(ToyNumpy(), notes)}
    bundle = toy_bundle(tmp_path / "b", files=files)
    (result,) = selftest(bundle, threads=1).engines
    encoder = toy_encoder()
    lengths = (100, 200, 400, 800, 1600, 100)
    assert result.invariance is not None
    assert result.invariance.windows == sum(
        len(encoder.encode(replace(NOTES[0], text=text[:n])).windows) for n in lengths
    )


def test_one_engine_may_be_asked_for(bundle: Bundle) -> None:
    assert [r.engine for r in selftest(bundle, "onnxruntime").engines] == ["onnxruntime"]


def test_an_engine_that_is_not_there_is_passed_over_unless_named(bundle, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "clin_edge.runtime.ort", raising=False)
    report = selftest(bundle)
    assert [r.engine for r in report.engines] == ["openvino"]
    assert list(report.not_tried) == ["onnxruntime"]
    assert "pip install" in report.not_tried["onnxruntime"]
    assert report.passed
    with pytest.raises(MissingInstallError, match="onnxruntime"):
        selftest(bundle, "onnxruntime")
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "clin_edge.runtime.ov", raising=False)
    with pytest.raises(MissingInstallError, match="openvino"):
        selftest(bundle)


def test_a_model_that_is_none_is_the_bundle_s_fault(tmp_path: Path) -> None:
    files = {"model.xml": b"<?xml version='1.0'?><net/>", "golden.jsonl": golden(ToyNumpy())}
    bundle = toy_bundle(tmp_path / "b", *BOTH, files=files)
    with pytest.raises(BundleError, match="OpenVINO cannot use"):
        selftest(bundle)
    assert selftest(bundle, "onnxruntime").passed


def test_a_network_that_gives_no_numbers_fails_and_the_others_are_still_tried(
    bundle: Bundle, monkeypatch
) -> None:
    def broken(_: Bundle, *, engine: str, **_threads: int):
        return add(lambda *_: float("nan") if engine == "openvino" else 0.0)

    monkeypatch.setattr(module, "open_session", broken)
    first, second = selftest(bundle).engines
    assert (first.passed, second.passed) == (False, True)
    assert "not numbers" in first.stopped
    assert first.golden is first.invariance is None
