"""What went wrong, counted by hand and against the scores."""

from __future__ import annotations

import json
from collections import Counter

from hypothesis import given

from clin_edge.core.labelled import Labelled
from clin_edge.core.notes import Note
from clin_edge.core.score import score
from clin_edge.core.score_errors import MOST_FREQUENT, Errors, Form, find_errors
from clin_edge.core.spans import Entity, Span
from score_cases import LABELS, corpora

TEXT = "HTN and chest\n pain; htn again, no Zebulon fever"


def found(*pairs: tuple[str, str], text: str = TEXT) -> tuple[Entity, ...]:
    """Entities by their words, each at its first place that is still free."""
    taken: list[Entity] = []
    for words, label in pairs:
        start = -1
        while start < 0 or any(e.span.start == start for e in taken):
            start = text.index(words, start + 1)
        taken.append(Entity(Span(start, start + len(words)), label))
    return tuple(taken)


def errors(gold: tuple[Entity, ...], predicted: tuple[Entity, ...]) -> Errors:
    item = Labelled(Note("a", TEXT), gold, frozenset(LABELS))
    return find_errors([item], {"a": predicted})


def rows(forms) -> list[tuple]:
    return [(f.label, f.text, f.count, f.of, f.wrong_ends, f.wrong_label) for f in forms]


def test_errors_counted_by_hand() -> None:
    gold = found(
        ("HTN", "DISEASE"), ("htn", "DISEASE"), ("chest\n pain", "SYMPTOM"), ("fever", "SYMPTOM")
    )
    predicted = found(
        *(("HTN", "DISEASE"), ("chest", "SYMPTOM"), ("fever", "DISEASE")), ("Zebulon", "MEDICATION")
    )
    made = errors(gold, predicted)
    assert made.confusion_dict() == {"SYMPTOM": {"DISEASE": 1}}
    #  One of two "htn" is missed; "chest pain" was found with another end, "fever" as a disease.
    assert rows(made.missed) == [
        ("DISEASE", "htn", 1, 2, 0, 0),
        ("SYMPTOM", "chest pain", 1, 1, 1, 0),
        ("SYMPTOM", "fever", 1, 1, 0, 1),
    ]
    assert rows(made.invented) == [
        ("DISEASE", "fever", 1, 1, 0, 1),
        ("MEDICATION", "zebulon", 1, 1, 0, 0),
        ("SYMPTOM", "chest", 1, 1, 1, 0),
    ]


def test_an_end_is_wrong_also_where_the_other_has_been_met() -> None:
    whole, part = found(("chest\n pain", "SYMPTOM")), found(("chest", "SYMPTOM"))
    assert rows(errors(whole, whole + part).invented) == [("SYMPTOM", "chest", 1, 1, 1, 0)]
    assert rows(errors(whole + part, whole).missed) == [("SYMPTOM", "chest", 1, 1, 1, 0)]


def test_the_most_frequent_come_first_and_not_too_many() -> None:
    text = " ".join(f"w{i}" for i in range(MOST_FREQUENT + 9)) + " twice twice"
    gold = found(*((w, "DISEASE") for w in text.split()), text=text)
    item = Labelled(Note("a", text), gold, frozenset({"DISEASE"}))
    made = find_errors([item], {})
    assert len(made.missed) == MOST_FREQUENT
    assert rows(made.missed)[:2] == [
        ("DISEASE", "twice", 2, 2, 0, 0),
        ("DISEASE", "w0", 1, 1, 0, 0),
    ]
    assert rows(made.invented) == []


@given(corpora())
def test_errors_add_up_to_what_the_scores_count(corpus) -> None:
    golds, predicted = corpus
    made = find_errors(golds, predicted)
    scores = score(golds, predicted, n_resamples=1)
    missed, invented = (Counter(), Counter())
    for forms, into in ((made.missed, missed), (made.invented, invented)):
        for form in forms:
            into[form.label] += form.count
            assert 0 < form.count <= form.of
            assert 0 <= form.wrong_ends <= form.count
            assert 0 <= form.wrong_label <= form.count
    confused: Counter[tuple[str, str]] = Counter()
    for item in golds:
        wanted, said = (
            {(e.span, e.label) for e in side if e.label in item.marked}
            for side in (item.entities, predicted.get(item.note.id, ()))
        )
        for span, label in wanted - said:
            confused.update((label, other) for at, other in said - wanted if at == span)
    assert made.confused == confused
    for label, row in scores.by_label.items():
        assert (missed[label], invented[label]) == (row.counts.fn, row.counts.fp)


def test_each_line_is_an_object_and_the_words_are_as_they_stand() -> None:
    made = errors(found(("fever", "SYMPTOM")), found(("fever", "DISEASE"), ("Zebulon", "DISEASE")))
    assert [json.loads(line) for line in made.json_lines()] == [
        {"kind": "confused", "gold": "SYMPTOM", "found": "DISEASE", "count": 1},
        {"kind": "missed", "label": "SYMPTOM", "form": "fever", "count": 1, "of": 1}
        | {"wrong_ends": 0, "wrong_label": 1},
        {"kind": "invented", "label": "DISEASE", "form": "fever", "count": 1, "of": 1}
        | {"wrong_ends": 0, "wrong_label": 1},
        {"kind": "invented", "label": "DISEASE", "form": "zebulon", "count": 1, "of": 1}
        | {"wrong_ends": 0, "wrong_label": 0},
    ]


def test_no_word_is_shown_when_errors_are_printed() -> None:
    made = errors(found(("fever", "SYMPTOM")), found(("Zebulon", "DISEASE")))
    assert "ebulon" not in repr(made)
    assert "fever" not in repr(made)
    assert "secret" not in repr(Form("DISEASE", "secret", 1, 1, 0, 0))
