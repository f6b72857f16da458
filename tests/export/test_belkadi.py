"""Scores of word pieces: by hand, by a slow oracle, by scikit-learn, and the paper's own row."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.errors import InputError
from clin_edge.core.labelled import N2C2, Labelled
from clin_edge.core.labels import LabelScheme
from clin_edge.core.notes import Note
from clin_edge.core.score import Average, score
from clin_edge.core.score_match import MATCHES
from clin_edge.core.spans import Entity, Span
from clin_edge.export.belkadi import ClassScore, TagReport, piece_scores, table, tag_report
from toy import TYPES, toy_encoder, toy_scheme

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden/peers_scores.json").read_text(encoding="utf-8")
)
CASES = {case["name"]: case for case in GOLDEN["cases"]}
NAMES = toy_scheme().tags
TEXT = "aspirin tablets for chest pain"  # six pieces: aspirin tablet ##s for chest pain
EVERY = frozenset(TYPES)


def of(text: str, *pairs: tuple[str, str]) -> tuple[Entity, ...]:
    places = [(text.index(words), words, label) for words, label in pairs]
    return tuple(Entity(Span(at, at + len(words)), label) for at, words, label in places)


def rates(scored: ClassScore | Average) -> list[float]:
    return [scored.precision, scored.recall, scored.f1]


def indices(tags: list[str], names: tuple[str, ...]) -> np.ndarray:
    return np.array([names.index(tag) for tag in tags], dtype=np.intp)


# --- from entities to tags -----------------------------------------------------------------------


def test_a_note_scored_by_hand() -> None:
    entities = of(
        TEXT, ("aspirin", "MEDICATION"), ("tablets", "DISEASE"), ("chest pain", "SYMPTOM")
    )
    found = of(TEXT, ("aspirin", "MEDICATION"), ("pain", "SYMPTOM"))
    gold = [Labelled(Note("a", TEXT), entities, EVERY)]
    made = piece_scores(gold, {"a": found}, toy_encoder(), toy_scheme())
    #  gold   B-MED  B-DIS I-DIS  O  B-SYM I-SYM
    #  found  B-MED  O     O      O  O     B-SYM
    assert made.pieces == 6
    tags = made.tags
    assert {name: rates(one) for name, one in tags.by_class.items()} == {
        "O": pytest.approx([1 / 4, 1, 2 / 5]),
        "B-MEDICATION": [1, 1, 1],
        "B-DISEASE": [0, 0, 0],
        "I-DISEASE": [0, 0, 0],
        "B-SYMPTOM": [0, 0, 0],
        "I-SYMPTOM": [0, 0, 0],
    }
    assert {one.support for one in tags.by_class.values()} == {1}
    assert tags.absent == ("I-MEDICATION",)
    assert tags.accuracy == pytest.approx(2 / 6)
    assert rates(tags.macro) == pytest.approx([1.25 / 6, 2 / 6, 1.4 / 6])
    assert rates(tags.weighted) == pytest.approx([1.25 / 6, 2 / 6, 1.4 / 6])
    assert rates(tags.macro_without_o) == pytest.approx([1 / 5, 1 / 5, 1 / 5])
    assert rates(tags.micro_without_o) == pytest.approx([1 / 2, 1 / 5, 2 / 7])
    types = made.types
    assert {name: (*rates(one), one.support) for name, one in types.by_class.items()} == {
        "O": pytest.approx((1 / 4, 1, 2 / 5, 1)),
        "MEDICATION": (1, 1, 1, 1),
        "DISEASE": (0, 0, 0, 2),
        "SYMPTOM": pytest.approx((1, 1 / 2, 2 / 3, 2)),
    }
    assert types.accuracy == pytest.approx(3 / 6)
    assert types.macro.f1 == pytest.approx((2 / 5 + 1 + 0 + 2 / 3) / 4)
    assert types.weighted.f1 == pytest.approx((2 / 5 + 1 + 0 + 4 / 3) / 6)
    assert types.macro_without_o.f1 == pytest.approx((1 + 0 + 2 / 3) / 3)
    assert types.weighted_without_o.f1 == pytest.approx((1 + 0 + 4 / 3) / 5)
    assert (types.absent, types.weighted_without_o.support) == ((), 5)


def test_who_finds_all_has_one_everywhere() -> None:
    entities = of(TEXT, ("aspirin", "MEDICATION"), ("chest pain", "SYMPTOM"))
    gold = [Labelled(Note(f"n{i}", TEXT), entities, EVERY) for i in range(3)]
    made = piece_scores(
        gold, dict.fromkeys(("n0", "n1", "n2"), entities), toy_encoder(), toy_scheme()
    )
    assert made.pieces == 18
    for report in (made.tags, made.types):
        assert report.accuracy == report.macro.f1 == report.weighted_without_o.f1 == 1
        assert report.macro.support == 18


def test_predictions_of_labels_that_a_note_does_not_mark_are_left_out() -> None:
    gold = [
        Labelled(Note("a", TEXT), of(TEXT, ("aspirin", "MEDICATION")), frozenset({"MEDICATION"}))
    ]
    found = of(TEXT, ("aspirin", "MEDICATION"), ("pain", "SYMPTOM"))
    made = piece_scores(gold, {"a": found}, toy_encoder(), toy_scheme())
    assert (made.tags.accuracy, list(made.tags.by_class)) == (1, ["O", "B-MEDICATION"])


def test_notes_without_prediction_or_text_count_their_pieces() -> None:
    gold = [Labelled(Note("a", TEXT), (), EVERY), Labelled(Note("b", ""), (), EVERY)]
    made = piece_scores(gold, {}, toy_encoder(), toy_scheme())
    assert (made.pieces, made.tags.accuracy, made.tags.macro_without_o.f1) == (6, 1, 0)
    nothing = piece_scores(gold[1:], {}, toy_encoder(), toy_scheme())
    assert (nothing.pieces, nothing.tags.accuracy, nothing.tags.by_class) == (0, 0, {})


def test_a_gold_label_that_means_one_of_two_is_refused() -> None:
    gold = [Labelled(Note("a", TEXT), (), frozenset({"DISEASE|SYMPTOM"}))]
    with pytest.raises(InputError, match=r"^--like belkadi2023: .* DISEASE\|SYMPTOM .*--map$"):
        piece_scores(gold, {}, toy_encoder(), toy_scheme())


# --- the report ----------------------------------------------------------------------------------


def slow_report(gold: list[int], predicted: list[int], classes: list[int]) -> list[list[float]]:
    """Precision, recall, F1 and support of each class, by going through all pieces each time."""
    pairs = list(zip(gold, predicted, strict=True))
    rows = []
    for one in classes:
        tp = sum(a == b == one for a, b in pairs)
        given, support = predicted.count(one), gold.count(one)
        precision, recall = tp / given if given else 0, tp / support if support else 0
        both = precision + recall
        rows.append([precision, recall, 2 * precision * recall / both if both else 0, support])
    return rows


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=40))
def test_a_report_is_that_of_counting_one_class_after_another(pairs) -> None:
    gold, predicted = [a for a, _ in pairs], [b for _, b in pairs]
    made = tag_report(np.array(gold, dtype=np.intp), np.array(predicted, dtype=np.intp), NAMES)
    present = sorted({*gold, *predicted})
    assert list(made.by_class) == [NAMES[i] for i in present]
    assert set(made.absent) == set(NAMES) - set(made.by_class)
    assert made.accuracy == pytest.approx(
        sum(a == b for a, b in pairs) / len(pairs) if pairs else 0
    )
    for classes, macro, weighted in (
        (present, made.macro, made.weighted),
        ([i for i in present if i], made.macro_without_o, made.weighted_without_o),
    ):
        rows = slow_report(gold, predicted, classes)
        for i, row in zip(classes, rows, strict=True):
            one = made.by_class[NAMES[i]]
            assert [*rates(one), one.support] == pytest.approx(row)
        supports = [row[3] for row in rows]
        for k in range(3):
            column = [row[k] for row in rows]
            mean = sum(column) / len(rows) if rows else 0
            shared = sum(x * n for x, n in zip(column, supports, strict=True))
            assert rates(macro)[k] == pytest.approx(mean)
            assert rates(weighted)[k] == pytest.approx(shared / (sum(supports) or 1))
        assert macro.support == weighted.support == sum(supports)


def test_a_predictor_of_nothing_is_the_paper_s_collapsed_row() -> None:
    """BioBERT-Apt: its accuracy, 0.8630, is the share of O; the other four figures follow."""
    scheme = LabelScheme(tuple(N2C2.values()))
    gold = np.array([0] * 8630 + [1 + i % 18 for i in range(1370)], dtype=np.intp)
    made = tag_report(gold, np.zeros_like(gold), scheme.tags)
    assert len(made.by_class) == 19
    assert made.macro.recall == pytest.approx(1 / 19)
    assert [round(x, 4) for x in rates(made.macro)] == [0.0454, 0.0526, 0.0488]
    assert [round(made.weighted.f1, 4), made.accuracy] == [0.7995, 0.863]
    assert rates(made.macro_without_o) == rates(made.micro_without_o) == [0, 0, 0]


@pytest.mark.parametrize("n_types", [1, 3, 9])
def test_all_o_has_a_macro_recall_of_one_among_all_tags(n_types: int) -> None:
    scheme = LabelScheme(tuple(N2C2.values())[:n_types])
    gold = np.arange(5 * len(scheme.tags)) % len(scheme.tags)
    made = tag_report(gold, np.zeros_like(gold), scheme.tags)
    assert made.macro.recall == pytest.approx(1 / (2 * n_types + 1))


@pytest.mark.parametrize("level", ["tags", "types"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_report_is_scikit_learn_s(case: dict, level: str) -> None:
    scheme = LabelScheme(("ADE", "DOSE", "DRUG", "FORM"))
    gold, predicted = (
        indices(" ".join(case[side]).split(), scheme.tags) for side in ("gold", "predicted")
    )
    names = scheme.tags
    if level == "types":
        gold, predicted, names = (gold + 1) // 2, (predicted + 1) // 2, ("O", *scheme.types)
    made = tag_report(gold, predicted, names)
    theirs = dict(case["sklearn"][level]["all"])
    agree(made.macro, theirs.pop("macro avg"))
    agree(made.weighted, theirs.pop("weighted avg"))
    assert made.accuracy == pytest.approx(theirs.pop("accuracy"), abs=1e-9)
    assert set(made.by_class) == set(theirs)
    for name, row in theirs.items():
        agree(made.by_class[name], row)
    if without := case["sklearn"][level].get("without_o"):
        agree(made.macro_without_o, without["macro avg"])
        agree(made.weighted_without_o, without["weighted avg"])
        agree(made.micro_without_o, without["micro avg"])


def agree(ours: ClassScore, theirs: list[float] | float) -> None:
    """To 1e-9; where all tokens are entities, scikit-learn's micro average is one number."""
    if isinstance(theirs, float):
        theirs = [theirs, theirs, theirs, ours.support]
    assert [*rates(ours), ours.support] == pytest.approx(theirs, abs=1e-9, rel=0)


# --- how it is shown -----------------------------------------------------------------------------


def test_the_table_sets_pieces_beside_entities_and_says_why_not() -> None:
    entities = of(TEXT, ("aspirin", "MEDICATION"), ("chest pain", "SYMPTOM"))
    gold = [Labelled(Note("a", TEXT), entities, EVERY)]
    found = {"a": of(TEXT, ("aspirin", "MEDICATION"), ("chest", "SYMPTOM"))}
    made = piece_scores(gold, found, toy_encoder(), toy_scheme())
    spans = {match: score(gold, found, match=match) for match in MATCHES}
    lines = table(made, spans)
    assert max(map(len, lines)) <= 100
    text = "\n".join(lines)
    assert lines[0] == "like belkadi2023: 6 word pieces"
    report: TagReport = made.tags
    shown = [*rates(report.macro), report.weighted.f1, report.accuracy]
    assert lines[2].split()[-5:] == [f"{x:.3f}" for x in shown]
    strict = spans["strict"]
    shown = [*rates(strict.macro), strict.weighted.f1, strict.micro.counts.f1]
    assert lines[6].split() == ["entities,", "strict", *(f"{x:.3f}" for x in shown)]
    assert "cannot be compared" in " ".join(text.split())
    assert "  3 more that no piece has" in text
    assert made.tags.absent == ("I-MEDICATION", "B-DISEASE", "I-DISEASE")


def test_as_plain_values_for_json() -> None:
    gold = [Labelled(Note("a", TEXT), of(TEXT, ("aspirin", "MEDICATION")), EVERY)]
    made = piece_scores(gold, {}, toy_encoder(), toy_scheme()).as_dict()
    plain = json.loads(json.dumps(made))
    assert plain["pieces"] == 6
    assert plain["tags"]["by_class"]["O"] == {
        "precision": 0.8333,
        "recall": 1.0,
        "f1": 0.9091,
        "support": 5,
    }
    assert plain["types"]["absent"] == ["DISEASE", "SYMPTOM"]
    assert set(plain["tags"]) == set(TagReport.__slots__)
    assert "cannot be compared" in plain["why_not_comparable"]
