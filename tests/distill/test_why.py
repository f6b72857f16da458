"""Who taught a surface form, with which code, and who disagreed: counts, and no other text."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from clin_edge.core.errors import InputError
from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.core.spans import Entity, Span
from clin_edge.distill.merging.silver import said_by
from clin_edge.distill.merging.why import as_dict, read_folder, table, why
from tiny import write_labelled

TEXT = "Chest pain at rest; chest\n pain gone. CHESTPAIN? No chest  pains."


def says(*places: tuple[int, int, str, str], marked: str = "DISEASE SYMPTOM") -> Labelled:
    entities = tuple(Entity(Span(s, e), label, source=source) for s, e, label, source in places)
    return Labelled(Note("n", TEXT), entities, frozenset(marked.split()))


def test_a_form_is_found_whatever_its_case_and_blanks_and_never_inside_a_word() -> None:
    said = {"snomed": says((0, 10, "SYMPTOM", "snomed:29857009"), (20, 31, "SYMPTOM", "snomed:1"))}
    reasons = why("chest PAIN", [said, {"snomed": says()}])
    assert (reasons.n_read, reasons.places, reasons.notes) == (2, 4, 2)
    assert reasons.labelled == Counter(
        {("snomed", "SYMPTOM", "29857009"): 1, ("snomed", "SYMPTOM", "1"): 1}
    )
    assert not reasons.disagreed


def test_unicode_forms_of_a_term_meet() -> None:
    note = Note("n", "Me\u0301nie\u0300re \ufb01bre")
    item = Labelled(note, (Entity(Span(0, 9), "DISEASE"),), frozenset({"DISEASE"}))
    assert why("MÉNIÈRE", [{"a": item}]).labelled == {("a", "DISEASE", ""): 1}
    assert why("fibre", [{"a": item}]).places == 1


def test_codes_are_what_follows_the_teacher_s_name() -> None:
    said = {
        "gpt": says((0, 10, "SYMPTOM", "gpt:prompt-3:few")),
        "bare": says((0, 10, "SYMPTOM", "")),
        "silver": says((0, 10, "SYMPTOM", "gpt:prompt-3+snomed:1")),
    }
    assert set(why("chest pain", [said]).labelled) == {
        ("gpt", "SYMPTOM", "prompt-3:few"),
        ("bare", "SYMPTOM", ""),
        ("silver", "SYMPTOM", "gpt:prompt-3+snomed:1"),
    }


def test_who_disagreed_and_what_they_said_instead() -> None:
    said = {
        "a": says((0, 10, "SYMPTOM", ""), (20, 31, "SYMPTOM", "")),
        "silent": says(),
        "other": says((0, 10, "DISEASE", ""), (20, 31, "DISEASE|SYMPTOM", "")),
        "longer": says((0, 18, "SYMPTOM", ""), (0, 2, "DISEASE", "")),
        "drugs": says((0, 10, "MEDICATION", ""), marked="MEDICATION"),
    }
    reasons = why("chest pain", [said])
    assert {k: n for k, n in reasons.disagreed.items() if k[1] == "SYMPTOM"} == {
        ("silent", "SYMPTOM", "unlabelled"): 2,
        ("other", "SYMPTOM", "DISEASE"): 1,
        ("longer", "SYMPTOM", "DISEASE (other span), SYMPTOM (other span)"): 1,
        ("longer", "SYMPTOM", "unlabelled"): 1,
    }
    # The teacher that marks no symptoms does not disagree about one, nor others about its drug.
    assert {k[0] for k in reasons.disagreed} == {"a", "silent", "other", "longer"}
    assert not any(k[1] == "MEDICATION" for k in reasons.disagreed)


def test_a_teacher_that_has_not_the_note_does_not_disagree() -> None:
    a = says((0, 10, "SYMPTOM", ""))
    assert not why("chest pain", [{"a": a}, {"b": says()}]).disagreed


def test_places_nobody_labelled_are_counted_and_no_disagreement() -> None:
    reasons = why("gone", [{"a": says(), "b": says()}])
    assert (reasons.places, reasons.labelled, reasons.disagreed) == (1, {}, {})
    assert table("gone", reasons) == ["gone: 1 places in 1 of 1 notes"]


def test_the_table_and_the_json() -> None:
    said = {"snomed": says((0, 10, "SYMPTOM", "snomed:29857009")), "hpo": says()}
    reasons = why("chest pain", [said])
    assert table("chest pain", reasons) == [
        "chest pain: 2 places in 1 of 1 notes",
        "",
        "labelled by  label    code       places",
        "snomed       SYMPTOM  29857009        1",
        "",
        "disagreed  label    said instead   places",
        "hpo        SYMPTOM  unlabelled          1",
    ]
    assert as_dict("chest pain", reasons) == {
        "term": "chest pain",
        "notes_read": 1,
        "places": 2,
        "notes": 1,
        "labelled": [{"teacher": "snomed", "label": "SYMPTOM", "code": "29857009", "places": 1}],
        "disagreed": [{"teacher": "hpo", "label": "SYMPTOM", "instead": "unlabelled", "places": 1}],
    }
    json.dumps(as_dict("chest pain", reasons))


def test_a_term_that_stands_nowhere_takes_one_line() -> None:
    for term in ("ague", "", "hest"):
        assert table(term, why(term, [{"a": says()}])) == [f"{term}: stands in none of 1 notes"]


def test_a_folder_is_read_file_by_file(tmp_path: Path) -> None:
    write_labelled(tmp_path / "b.jsonl", [says()])
    write_labelled(tmp_path / "a.jsonl", [says()])
    (tmp_path / "report.json").write_text("{}")
    teachers = read_folder(tmp_path)
    assert list(teachers) == ["a", "b"]
    assert [list(said) for said in said_by(teachers).values()] == [["a", "b"]]


def test_a_folder_without_labelled_notes_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="holds no labelled notes"):
            read_folder(folder)
    (tmp_path / "a.jsonl").write_text("secret")
    with pytest.raises(InputError, match=r"a\.jsonl:1: not JSON") as caught:
        read_folder(tmp_path)
    assert "secret" not in str(caught.value)
