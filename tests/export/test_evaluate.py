"""The same entities have the same scores, whoever brings them."""

from __future__ import annotations

from pathlib import Path

import pytest

from clin_edge.core.errors import InputError
from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.core.score import Scores, score
from clin_edge.core.score_match import MATCHES
from clin_edge.core.spans import Entity, Span
from clin_edge.export.evaluate import evaluate, find_with, open_predictor
from clin_edge.runtime.pipeline import Pipeline
from tiny import either, write_labelled


def plain(scores: dict[str, Scores]) -> dict[str, dict[str, object]]:
    return {match: result.as_dict() for match, result in scores.items()}


def write_records(path: Path, bundle: Path, items: list[Labelled], *, with_text: bool = True):
    records = Pipeline.from_bundle(bundle, threads=1).records(item.note for item in items)
    lines = [record.to_json(with_text=with_text) + "\n" for record in records]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def test_bundle_student_records_and_labelled_notes_score_alike(
    fp32, student_folder: Path, gold, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("CLIN_EDGE_THREADS", "1")
    bundle = fp32.bundle.path
    expected = plain(evaluate(bundle, gold))
    found = find_with(open_predictor(bundle), gold)
    said = [Labelled(i.note, tuple(found[i.note.id]), i.marked) for i in gold]
    for what in (
        student_folder,
        write_records(tmp_path / "records.jsonl", bundle, gold),
        write_records(tmp_path / "bare.jsonl", bundle, gold, with_text=False),
        write_labelled(tmp_path / "labelled.jsonl", said),
    ):
        assert plain(evaluate(what, gold)) == expected, what
    assert list(expected) == ["strict", "lenient", "partial"]
    strict, lenient = (expected[m]["micro"]["f1"] for m in ("strict", "lenient"))
    assert 0.9 < strict <= lenient


def test_a_quantised_bundle_scores_nearly_as_its_student(int8, student_folder, gold) -> None:
    ours, theirs = (
        plain(evaluate(what, gold))["strict"]["micro"]["f1"]
        for what in (int8.bundle.path, student_folder)
    )
    assert ours == pytest.approx(theirs, abs=0.05)


def test_gold_scores_itself_at_one_and_silence_at_zero(gold, tmp_path: Path) -> None:
    itself = evaluate(write_labelled(tmp_path / "gold.jsonl", gold), gold)
    silent = [Labelled(item.note, (), item.marked) for item in gold]
    nothing = evaluate(write_labelled(tmp_path / "silent.jsonl", silent), gold)
    for match in MATCHES:
        assert itself[match].micro.counts.f1 == itself[match].micro.f1_low == 1
        assert nothing[match].micro.counts.f1 == nothing[match].micro.f1_high == 0
        assert itself[match] == score(gold, {i.note.id: i.entities for i in gold}, match=match)


def test_gold_that_does_not_tell_two_labels_apart_is_met_by_either(
    fp32, student_folder: Path, gold
) -> None:
    for what in (fp32.bundle.path, student_folder):
        scores = evaluate(what, either(gold))
        assert list(scores["strict"].by_label) == ["MEDICATION|DISEASE"]
        told_apart = evaluate(what, gold)["strict"].micro.counts
        assert scores["strict"].micro.counts.tp >= told_apart.tp


def test_records_that_lack_a_gold_note_are_refused(gold, tmp_path: Path) -> None:
    path = write_labelled(tmp_path / "some.jsonl", [*gold[:3], *gold[5:]])
    with pytest.raises(InputError) as caught:
        evaluate(path, gold)
    assert str(caught.value) == (
        f"{path}: has no record of 2 gold notes, the first is {gold[3].note.id!r}"
    )


def test_records_of_other_notes_beside_are_no_matter(gold, tmp_path: Path) -> None:
    more = Labelled(Note("more", "pain"), (Entity(Span(0, 4), "DISEASE"),), frozenset({"DISEASE"}))
    path = write_labelled(tmp_path / "more.jsonl", [more, *gold])
    assert evaluate(path, gold)["strict"].micro.counts.f1 == 1


@pytest.mark.parametrize("content", ["{}\n", "nonsense\n", '{"id": "a"}\n{"id": "a"}\n'])
def test_a_file_that_holds_no_records_is_refused(content: str, gold, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match=r"records\.jsonl") as caught:
        evaluate(path, gold)
    assert "\n" not in str(caught.value)


def test_what_is_neither_bundle_nor_student_nor_file_is_refused(gold, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a student folder"):
        evaluate(tmp_path, gold)
    with pytest.raises(InputError, match="cannot be read"):
        evaluate(tmp_path / "absent.jsonl", gold)


def test_records_of_another_text_are_refused(gold, tmp_path: Path) -> None:
    """Their offsets would be wrong, and the score would not say so."""
    n_chars = len(gold[2].note.text)
    longer = Labelled(
        Note(gold[2].note.id, gold[2].note.text + " pain"),
        (Entity(Span(n_chars + 1, n_chars + 5), "DISEASE"),),
        gold[2].marked,
    )
    path = write_labelled(tmp_path / "other.jsonl", [*gold[:2], longer, *gold[3:]])
    with pytest.raises(InputError) as caught:
        evaluate(path, gold)
    assert str(caught.value) == (
        f"{path}: an entity of note {gold[2].note.id!r} ends after the gold note's text; "
        "were the records made of another text?"
    )


def test_labels_the_model_does_not_have_are_left_out(fp32, gold) -> None:
    """That it is said is tested through the command."""
    wider = [
        Labelled(
            item.note,
            (*item.entities, Entity(Span(0, 1), "ROUTE")),
            item.marked | {"ROUTE"},
        )
        for item in gold
    ]
    assert plain(evaluate(fp32.bundle.path, wider)) == plain(evaluate(fp32.bundle.path, gold))
    only_others = [Labelled(item.note, (), frozenset({"ROUTE"})) for item in gold]
    with pytest.raises(InputError, match="none of the labels"):
        evaluate(fp32.bundle.path, only_others)
