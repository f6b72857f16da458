"""The gates say no exactly where a limit is crossed, and tell the figures."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.core.spans import Entity, Span
from clin_edge.export import gate
from clin_edge.export.gate import Check, Evidence, Limits, Verdict
from clin_edge.runtime.selftest import Change, Invariance


def items(n_notes: int, *labels: str) -> list[Labelled]:
    """One entity of each label in each note."""
    entities = tuple(Entity(Span(i, i + 1), label) for i, label in enumerate(labels))
    return [Labelled(Note(f"n{i}", "x" * 9), entities, frozenset(labels)) for i in range(n_notes)]


def without(gold, label: str, n_missed: int) -> dict[str, list[Entity]]:
    """Everything but ``label`` in the first notes."""
    return {
        item.note.id: [e for e in item.entities if e.label != label or i >= n_missed]
        for i, item in enumerate(gold)
    }


def f1(n: int, missed: int) -> float:
    return 2 * (n - missed) / (2 * (n - missed) + missed)


# --- gold ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("missed", "refused"), [(0, False), (1, False), (3, True)])
def test_all_labels_together_may_lose_half_a_point(missed: int, refused: bool) -> None:
    gold = items(300, "A")  # 1 of 300 costs 0.0017, 3 cost 0.0050 and a little more
    check = gate.on_gold("dev", gold, without(gold, "A", 0), without(gold, "A", missed), Limits())
    assert bool(check.refusals) is refused
    assert check.facts["all"]["bundle"] == round(f1(300, missed), 4)
    if refused:
        (line,) = check.refusals
        assert line.startswith("dev, all labels: strict F1 1.0000 -> 0.9950, -0.0050 (95 % ")


@pytest.mark.parametrize(("n", "refused"), [(99, False), (100, True)])
def test_a_label_is_judged_alone_from_a_hundred_entities_on(n: int, refused: bool) -> None:
    rare = items(n, "RARE")
    gold = [*items(2000, "A"), *(item_with_id(item, f"r{i}") for i, item in enumerate(rare))]
    gold = [relabel(item, {"A", "RARE"}) for item in gold]
    ours = {item.note.id: list(item.entities) for item in gold}
    for i in range(3):
        ours[f"r{i}"] = []
    check = gate.on_gold("dev", gold, {i.note.id: i.entities for i in gold}, ours, Limits())
    assert [line.split(":")[0] for line in check.refusals] == ["dev, RARE"] * refused
    assert check.facts["labels"]["RARE"]["gold"] == n


def item_with_id(item: Labelled, note_id: str) -> Labelled:
    return Labelled(Note(note_id, item.note.text), item.entities, item.marked)


def relabel(item: Labelled, marked: set[str]) -> Labelled:
    return Labelled(item.note, item.entities, frozenset(marked))


def test_what_grows_better_is_never_refused_and_limits_are_the_user_s() -> None:
    gold = items(100, "A", "B")
    worse, right = without(gold, "B", 40), without(gold, "B", 0)
    assert gate.on_gold("dev", gold, worse, right, Limits(0, 0)).refusals == ()
    assert len(gate.on_gold("dev", gold, right, worse, Limits()).refusals) == 2
    assert gate.on_gold("dev", gold, right, worse, Limits(0.5, 0.5)).refusals == ()


@pytest.mark.parametrize("wrong", [(-0.1, 0.0), (0.0, 1.1), (float("nan"), 0.0)])
def test_a_limit_is_a_share(wrong) -> None:
    with pytest.raises(ValueError, match="expected 0 to 1"):
        Limits(*wrong)


# --- agreement -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_notes", "missed", "refused"),
    [
        *((200, 3, False), (200, 5, True)),  # 0.992 and 0.987
        *((199, 5, False), (199, 60, True), (1, 0, False), (0, 0, False)),
    ],
)
def test_few_notes_only_show_what_is_far_off(n_notes: int, missed: int, refused: bool) -> None:
    gold = items(n_notes, "A")
    check = gate.agreement(gold, without(gold, "A", missed), judged=True)
    assert bool(check.refusals) is refused
    assert check.facts["spans_only_float"] == missed
    assert check.facts["f1"] == (round(f1(n_notes, missed), 4) if n_notes else 1.0)
    assert gate.agreement(gold, without(gold, "A", missed), judged=False).refusals == ()


def test_nothing_found_by_either_is_agreement() -> None:
    quiet = [Labelled(Note("n", "x"), (), frozenset("A"))]
    assert gate.agreement(quiet, {"n": []}, judged=True).facts["f1"] == 1.0


# --- parity and invariance -----------------------------------------------------------------------


class Says:
    """Stands for a predictor: gives the logits and entities it was told."""

    def __init__(self, logits: float, *entities: Entity) -> None:
        self.logits, self.entities = np.full((3, 2), logits, dtype=np.float32), list(entities)

    def read(self, notes):
        for note in notes:
            yield SimpleNamespace(note=note, logits=self.logits, entities=self.entities)


FOUND = Entity(Span(0, 2), "A", 0.9)


@pytest.mark.parametrize(
    ("engine", "refused"),
    [
        (Says(1.0, FOUND), False),
        (Says(1.0005, FOUND), False),
        (Says(1.01, FOUND), True),
        (Says(float("nan"), FOUND), True),
        (Says(1.0), True),
        (Says(1.0, Entity(Span(0, 2), "B", 0.9)), True),
        (Says(1.0, Entity(Span(0, 2), "A", 0.1)), False),
    ],
)
def test_float_must_be_faithful(engine: Says, refused: bool) -> None:
    check = gate.float_parity(list(Says(1.0, FOUND).read([Note("n", "abc")])), engine)
    assert bool(check.refusals) is refused
    assert check.facts["notes"] == 1


def test_answers_that_depend_on_the_batch_are_refused() -> None:
    still = Change("in reverse order", 0.0, 0, 0)
    moved = Change("in batches of up to 256 tokens", 0.2, 0, 0)
    assert gate.invariance(Invariance(3, 4, (still, still))).refusals == ()
    (line,) = gate.invariance(Invariance(3, 4, (still, moved))).refusals
    assert "in batches of up to 256 tokens" in line
    assert "2.0e-01" in line


# --- the verdict ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_compared", "gold", "verdict"),
    [(10, {}, "not judged"), (200, {}, "passed"), (10, {"dev": ([], {})}, "passed")],
)
def test_a_verdict_says_what_judged(n_compared: int, gold, verdict: str) -> None:
    evidence = Evidence(items(1, "A"), [], items(n_compared, "A"), gold)
    fine = {"openvino": {"agreement": Check({"f1": 1.0}, "fine")}}
    facts = Verdict("int8", fine, evidence, 0.98765, Limits()).as_dict()
    assert (facts["verdict"], facts["gold_used"]) == (verdict, bool(gold))
    assert facts["golden_agreement"] == 0.9877
    assert facts["engines"] == {"openvino": {"agreement": {"f1": 1.0}}}
    bad = {**fine, "onnxruntime": {"agreement": Check({}, "bad", ("too far",))}}
    facts = Verdict("int8", bad, evidence, 1.0, Limits()).as_dict()
    assert (facts["verdict"], facts["refusals"]) == ("refused", ["onnxruntime: too far"])
    assert Verdict("fp32", fine, evidence, 1.0, Limits()).as_dict()["verdict"] == "passed"
