"""The golden notes: how well a network agrees with them, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clin_edge.core.bundle import Bundle
from clin_edge.core.errors import BundleError, ClinEdgeError
from clin_edge.core.predict import Predictor
from clin_edge.runtime.selftest import GoldenResult, check_golden, golden_notes, selftest
from saturating import ToyNumpy, golden
from toy import toy_bundle, toy_encoder, toy_scheme


def with_golden(folder: Path, content: bytes, **gate: object) -> Bundle:
    return toy_bundle(folder, files={"golden.jsonl": content}, gate=gate)


def altered(n_moved: int) -> bytes:
    """Golden notes of which the first ``n_moved`` entities begin a character too late."""
    rows = [json.loads(line) for line in golden(ToyNumpy()).splitlines()]
    entities = [entity for row in rows for entity in row["entities"]]
    for entity in entities[:n_moved]:
        entity["start"] += 1
    return "\n".join(map(json.dumps, rows)).encode()


def predictor() -> Predictor:
    return Predictor(toy_encoder(), toy_scheme(), ToyNumpy())


@pytest.mark.parametrize("n_moved", [0, 1, 4, 20])
def test_agreement_is_the_share_of_entities_in_their_places(tmp_path: Path, n_moved: int) -> None:
    result = check_golden(with_golden(tmp_path / "b", altered(n_moved)), predictor())
    n = result.expected
    assert (result.found, result.shared) == (n, n - n_moved)
    assert result.agreement == pytest.approx((n - n_moved) / n)
    assert result.needed == 0.9
    assert result.passed == ((n - n_moved) / n >= 0.9)


@pytest.mark.parametrize("margin", [-0.001, 0.001])
def test_enough_is_what_the_gate_says_less_a_hundredth(tmp_path: Path, margin: float) -> None:
    n = check_golden(with_golden(tmp_path / "a", altered(0)), predictor()).expected
    reached = (n - 4) / n + 0.01 + margin
    bundle = with_golden(tmp_path / "b", altered(4), golden_agreement=reached)
    result = check_golden(bundle, predictor())
    assert result.needed == pytest.approx(reached - 0.01, abs=1e-6)
    assert result.passed == (margin < 0)
    report = selftest(bundle, threads=1)
    assert report.passed == result.passed


@pytest.mark.parametrize(("agreement", "passed"), [(0.89, False), (0.9, True), (1.0, True)])
def test_just_enough_is_enough(agreement: float, passed: bool) -> None:
    assert GoldenResult(1, 9, 9, 9, agreement, needed=0.9).passed == passed


def test_a_wrong_label_is_no_agreement(tmp_path: Path) -> None:
    content = golden(ToyNumpy()).replace(b"DISEASE", b"SYMPTOM")
    result = check_golden(with_golden(tmp_path / "b", content), predictor())
    assert result.shared < result.expected
    assert not result.passed


def test_golden_notes_without_entities_agree_with_a_network_that_finds_none(tmp_path) -> None:
    nothing = json.dumps({"id": "a", "text": "no no no", "entities": []}).encode()
    result = check_golden(with_golden(tmp_path / "a", nothing), predictor())
    assert (result.expected, result.found, result.agreement) == (0, 0, 1.0)
    missed = json.dumps({"id": "a", "text": "fever", "entities": []}).encode()
    assert not check_golden(with_golden(tmp_path / "b", missed), predictor()).passed


def test_a_bundle_without_golden_notes_cannot_be_tested(tmp_path: Path) -> None:
    bundle = toy_bundle(tmp_path / "b")
    for check in (selftest, golden_notes, lambda b: check_golden(b, predictor())):
        with pytest.raises(BundleError, match=r"golden\.jsonl: missing"):
            check(bundle)


GOOD = {"id": "a", "text": "has fever", "entities": [{"start": 4, "end": 9, "label": "SYMPTOM"}]}


def entity(**changes: object) -> dict[str, object]:
    return {**GOOD, "entities": [{**GOOD["entities"][0], **changes}]}  # type: ignore[index]


@pytest.mark.parametrize(
    "row",
    [
        [],
        {},
        *({key: value for key, value in GOOD.items() if key != gone} for gone in GOOD),
        {**GOOD, "id": 1},
        {**GOOD, "id": ""},
        {**GOOD, "text": None},
        {**GOOD, "text": "\ud800"},
        {**GOOD, "entities": {}},
        {**GOOD, "entities": ["fever"]},
        {**GOOD, "entities": [None]},
        {**GOOD, "entities": [{}]},
        entity(start=True),
        entity(start=4.0),
        entity(start="4"),
        entity(start=-1),
        entity(start=9),
        entity(end=10),
        entity(label="DRUG"),
        entity(label=None),
        entity(label=["SYMPTOM"]),
    ],
)
def test_a_malformed_golden_note_is_named_by_its_line_and_not_quoted(row, tmp_path: Path) -> None:
    content = "\n".join(json.dumps(one) for one in ({**GOOD, "id": "first"}, row)).encode()
    bundle = with_golden(tmp_path / "b", content)
    with pytest.raises(BundleError) as raised:
        golden_notes(bundle)
    said = str(raised.value)
    assert "golden.jsonl:2" in said
    assert "\n" not in said
    assert "fever" not in said
    assert isinstance(raised.value, ClinEdgeError)
    assert raised.value.__suppress_context__


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no notes"),
        (b"\n \n", "holds no notes"),
        (b"has fever", "golden.jsonl:1: not JSON"),
        (b"\xff", "golden.jsonl:1: not UTF-8"),
        (b"\n".join([json.dumps(GOOD).encode()] * 2), "golden.jsonl:2: no golden note"),
    ],
)
def test_a_malformed_golden_file_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=said):
        golden_notes(with_golden(tmp_path / "b", content))


@pytest.mark.parametrize("reached", ["0.97", None, True, -0.1, 1.1, [1]])
def test_a_gate_whose_figure_is_none_is_refused(tmp_path: Path, reached: object) -> None:
    bundle = with_golden(tmp_path / "b", golden(ToyNumpy()), golden_agreement=reached)
    with pytest.raises(BundleError, match="golden_agreement"):
        check_golden(bundle, predictor())
