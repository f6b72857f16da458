"""What teachers say is asked once, however often a run is stopped; of what is known, never."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from clin_edge.core.errors import InputError
from clin_edge.core.labelled import Labelled
from clin_edge.core.labels import LabelScheme
from clin_edge.core.predict import Predictor
from clin_edge.distill.dataset import LOWEST, allowed_tags, make_examples, marks_all
from clin_edge.distill.kept_soft import kept_soft_labels
from clin_edge.distill.lessons import Lessons
from clin_edge.distill.soft import soft_labels, student_teacher
from tiny import invented_set, tiny_recipe, tiny_student
from toy import ToySession, toy_encoder, toy_scheme

SCHEME, ENCODER = toy_scheme(), toy_encoder()
NOTES = [item.note for item in invented_set(7)]


class Counting(ToySession):
    def __init__(self) -> None:
        super().__init__(context=True)
        self.asked = 0

    def run(self, batch: Any) -> Any:
        self.asked += 1
        return super().run(batch)


def teacher(session: ToySession, identity: str = "one") -> Any:
    predictor = Predictor(toy_encoder(), SCHEME, session)
    return SimpleNamespace(predictor=predictor, scheme=SCHEME, crf=None, identity=identity)


def kept(folder: Path, session: ToySession, notes: Any = NOTES, **who: str) -> list[Any]:
    return list(kept_soft_labels(notes, ENCODER, SCHEME, [teacher(session, **who)], folder))


def same(some: list[Any], other: list[Any]) -> bool:
    return len(some) == len(other) and all(map(np.array_equal, some, other))


def test_a_second_call_asks_nobody_and_gives_the_same(tmp_path: Path) -> None:
    session = Counting()
    first = kept(tmp_path / "run", session)
    asked = session.asked
    assert asked > 0
    assert same(
        first, list(soft_labels(NOTES, ENCODER, SCHEME, [teacher(ToySession(context=True))]))
    )
    assert same(kept(tmp_path / "run", session), first)
    assert session.asked == asked
    assert [path.suffix for path in (tmp_path / "run").iterdir()] == [".float16"]


def test_another_student_asks_only_a_teacher_whom_none_asked_before(tmp_path: Path) -> None:
    one, two = Counting(), Counting()
    first = [teacher(one)]
    list(kept_soft_labels(NOTES, ENCODER, SCHEME, first, tmp_path))
    asked, other = one.asked, toy_encoder(kind="bytes")
    both = [*first, teacher(two, "two")]
    rows = list(kept_soft_labels(NOTES, other, SCHEME, both, tmp_path))
    assert one.asked == asked
    assert two.asked > 0
    assert same(rows, list(soft_labels(NOTES, other, SCHEME, both)))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_teacher_of_other_labels_is_refused_before_anyone_is_asked(tmp_path: Path) -> None:
    session = Counting()
    other = teacher(ToySession(context=True))
    other.scheme = LabelScheme(("AGE",))
    with pytest.raises(InputError, match="the soft teacher knows AGE"):
        kept_soft_labels(NOTES, ENCODER, SCHEME, [teacher(session), other], tmp_path / "run")
    assert session.asked == 0
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("change", ["notes", "order", "teacher"])
def test_of_something_else_they_are_asked_anew_and_what_was_kept_stays(
    change: str, tmp_path: Path
) -> None:
    kept(tmp_path, ToySession(context=True))
    notes, who = NOTES, {}
    match change:
        case "notes":
            notes = NOTES[:-1]
        case "order":
            notes = NOTES[::-1]
        case _:
            who = {"identity": "two"}
    session = Counting()
    rows = kept(tmp_path, session, notes, **who)
    assert session.asked > 0
    assert same(
        rows, list(soft_labels(notes, ENCODER, SCHEME, [teacher(ToySession(context=True))]))
    )
    assert len(list(tmp_path.iterdir())) == 2


def test_what_is_not_whole_does_not_count(tmp_path: Path) -> None:
    class Dying(Counting):
        def run(self, batch: Any) -> Any:
            if self.asked == 2:
                raise KeyboardInterrupt
            return super().run(batch)

    many = [item.note for item in invented_set(400)]
    with pytest.raises(KeyboardInterrupt):
        kept(tmp_path, Dying(), many)
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
    session = Counting()
    rows = kept(tmp_path, session, many)
    assert session.asked > 2
    assert same(rows, list(soft_labels(many, ENCODER, SCHEME, [teacher(ToySession(context=True))])))
    assert [path.suffix for path in tmp_path.iterdir()] == [".float16"]


def test_a_student_is_known_by_its_weights_pieces_and_windows(tmp_path: Path) -> None:
    from dataclasses import replace

    import torch

    student = tiny_student(tmp_path / "e")
    known = student_teacher(student).identity
    assert student_teacher(student).identity == known
    others = [
        tiny_student(tmp_path / "f", seed=1),
        replace(student, overlap=student.overlap + 1),
        replace(student, tokenizer_json=student.tokenizer_json + b" "),
    ]
    assert known not in {student_teacher(other).identity for other in others}
    with torch.no_grad():
        next(student.model.parameters()).view(-1)[0] += 1
    assert student_teacher(student).identity != known


def test_of_notes_that_mark_every_label_no_teacher_is_asked(tmp_path: Path) -> None:
    student = tiny_student(tmp_path / "e")
    whole, part = invented_set(2, prefix="w"), invented_set(2, marked=("DISEASE",), prefix="p")
    bare = [Labelled(item.note, (), frozenset()) for item in invented_set(1, prefix="b")]
    items = [*whole, *part, *bare]
    assert [marks_all(item, student.scheme) for item in items] == [True, True, False, False, False]
    seen = []

    class Listening:
        def read(self, notes: Any) -> Any:
            for note in notes:
                seen.append(note.id)
                yield from student.predictor.read([note])

    listening = SimpleNamespace(
        predictor=Listening(), scheme=student.scheme, crf=None, identity="x"
    )
    lessons = Lessons(tiny_recipe(), items, student, [listening])
    assert seen == ["p0", "p1", "b0"]
    made = list(make_examples(items, student.encoder, student.scheme))
    for example, plain in zip(lessons.examples(0), made, strict=True):
        np.testing.assert_array_equal(example.ids, plain.ids)
    encoded = student.encoder.encode(whole[0].note)
    sure = np.where(allowed_tags(whole[0], encoded, student.scheme), 0, LOWEST)
    first = lessons.examples(0)[0]
    assert first.soft is not None
    np.testing.assert_array_equal(first.soft[first.learn], sure[: first.learn.sum()])
