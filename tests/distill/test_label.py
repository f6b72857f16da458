"""One whole file a teacher, every note in order, or nothing at all."""

import gzip
import io
import json
import logging
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from clin_edge.core.errors import InputError, TeacherError
from clin_edge.core.labelled import Labelled, read_labelled
from clin_edge.core.notes import Note, NoteFormat
from clin_edge.core.spans import Span
from clin_edge.distill.labelling import label
from clin_edge.distill.labelling.files import Tally
from clin_edge.distill.labelling.label import label_notes
from clin_edge.distill.teachers import SetAside

NOTES = [
    ("b", "Gout 👩‍⚕️ on aspirin.\r\nAspirin stopped."),
    ("a", "Nothing here."),
    ("c", "Vertigo"),
]
TABLE = (
    "id\tname\tsynonyms\tlabel\n"
    "1\taspirin\tASA\tMEDICATION\n"
    "2\tgout\t\tDISEASE\n"
    "3\tvertigo\t\tDISEASE|SYMPTOM\n"
)


@pytest.fixture
def notes(tmp_path: Path) -> str:
    path = tmp_path / "notes.jsonl"
    lines = (json.dumps({"id": note_id, "text": text}) for note_id, text in NOTES)
    path.write_text("\n".join(lines))
    return str(path)


@pytest.fixture
def spec(tmp_path: Path) -> str:
    (tmp_path / "mine.tsv").write_text(TABLE)
    return f"terms:{tmp_path / 'mine.tsv'}"


def test_the_file_holds_every_note_in_order(notes: str, spec: str, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    tallies = label_notes([notes], NoteFormat(), [spec], out, None)
    found = Counter({"DISEASE": 1, "MEDICATION": 2, "SYMPTOM": 0, "DISEASE|SYMPTOM": 1})
    assert tallies == {"terms-mine": Tally(found, labelled=3)}
    assert list(tallies["terms-mine"].entities)[:3] == ["DISEASE", "MEDICATION", "SYMPTOM"]
    assert [path.name for path in out.iterdir()] == ["terms-mine.jsonl"]
    assert (out / "terms-mine.jsonl").read_bytes().decode() == (
        '{"id": "b", "text": "Gout 👩‍⚕️ on aspirin.\\r\\nAspirin stopped.", "entities": ['
        '{"start": 0, "end": 4, "label": "DISEASE", "source": "terms-mine:2"}, '
        '{"start": 13, "end": 20, "label": "MEDICATION", "source": "terms-mine:1"}, '
        '{"start": 23, "end": 30, "label": "MEDICATION", "source": "terms-mine:1"}], '
        '"marked": ["DISEASE", "MEDICATION", "SYMPTOM"]}\n'
        '{"id": "a", "text": "Nothing here.", "entities": [], '
        '"marked": ["DISEASE", "MEDICATION", "SYMPTOM"]}\n'
        '{"id": "c", "text": "Vertigo", "entities": ['
        '{"start": 0, "end": 7, "label": "DISEASE|SYMPTOM", "source": "terms-mine:3"}], '
        '"marked": ["DISEASE", "MEDICATION", "SYMPTOM"]}\n'
    )


def test_it_is_read_back_as_labelled_notes(notes: str, spec: str, tmp_path: Path) -> None:
    label_notes([notes], NoteFormat(), [spec], tmp_path / "out", None)
    items = read_labelled(tmp_path / "out" / "terms-mine.jsonl")
    assert [(item.note.id, item.note.text) for item in items] == NOTES
    assert items[0].entities[0].span == Span(0, 4)


def test_two_teachers_of_one_name_write_two_files(notes: str, spec: str, tmp_path: Path) -> None:
    tallies = label_notes([notes], NoteFormat(), [spec, spec], tmp_path / "out", None)
    assert list(tallies) == ["terms-mine", "terms-mine-2"]
    first, second = (
        (tmp_path / "out" / f"{name}.jsonl").read_text(encoding="utf-8") for name in tallies
    )
    assert second == first.replace('"terms-mine:', '"terms-mine-2:')


def test_only_the_labels_asked_for(notes: str, spec: str, tmp_path: Path) -> None:
    wanted = frozenset({"SYMPTOM", "MEDICATION", "ADE"})
    tallies = label_notes([notes], NoteFormat(), [spec], tmp_path / "out", wanted)
    found = Counter({"MEDICATION": 2, "SYMPTOM": 0, "DISEASE|SYMPTOM": 1})
    assert tallies == {"terms-mine": Tally(found, labelled=3)}
    items = read_labelled(tmp_path / "out" / "terms-mine.jsonl")
    assert {item.marked for item in items} == {frozenset({"SYMPTOM", "MEDICATION"})}


def test_a_teacher_that_marks_none_of_the_labels_is_refused(
    notes: str, spec: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="terms-mine: marks DISEASE, MEDICATION, SYMPTOM, none of"):
        label_notes([notes], NoteFormat(), [spec], tmp_path / "out", frozenset({"ADE"}))
    assert not (tmp_path / "out").exists()


def test_columns_and_places_are_those_of_notes(spec: str, tmp_path: Path) -> None:
    table = tmp_path / "notes.csv"
    table.write_text("key,body\n1,on aspirin\n")
    packed = tmp_path / "more.jsonl.gz"
    packed.write_bytes(gzip.compress(b'{"key": "2", "body": "ASA"}\n'))
    fmt = NoteFormat("key", "body")
    tallies = label_notes([str(table), str(packed)], fmt, [spec], tmp_path / "out", None)
    assert tallies["terms-mine"].entities["MEDICATION"] == 2


def test_standard_input_is_read_once_for_all_teachers(
    spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin = SimpleNamespace(buffer=io.BytesIO(b'{"id": "1", "text": "aspirin"}\n'))
    monkeypatch.setattr("sys.stdin", stdin)
    tallies = label_notes(["-"], NoteFormat(), [spec, spec], tmp_path / "out", None)
    assert [tally.entities["MEDICATION"] for tally in tallies.values()] == [1, 1]


def test_a_bad_note_is_known_before_a_teacher_is_made(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_text('{"id": "1", "text": "x"}\n{"id": "1", "text": "y"}\n')
    with pytest.raises(InputError, match=r"notes\.jsonl:2: the id '1' came before"):
        label_notes([str(path)], NoteFormat(), ["rxnorm:nowhere"], tmp_path / "out", None)
    assert not (tmp_path / "out").exists()


class Failing:
    """Fails at the second note."""

    name = "failing"
    marked = frozenset({"L"})

    def read(self, note: Note) -> Labelled:
        if note.id == "a":
            raise TeacherError("failing: out of words")
        return Labelled(note, (), self.marked)


def test_a_failure_leaves_what_was_there(
    notes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label, "make_teachers", lambda *_: [Failing()])
    (tmp_path / "out").mkdir()
    before = tmp_path / "out" / "failing.jsonl"
    before.write_text("of yesterday")
    with pytest.raises(TeacherError, match="out of words"):
        label_notes([notes], NoteFormat(), ["failing:"], tmp_path / "out", None)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["failing.jsonl"]
    assert before.read_text() == "of yesterday"


@pytest.mark.parametrize(
    ("ids", "aside"), [("abc", {}), ("ac", {"b": "no words"}), ("", dict.fromkeys("abc", "no"))]
)
def test_notes_set_aside_are_listed_with_the_reason(
    notes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ids: str, aside: dict[str, str]
) -> None:
    class Picky(Failing):
        def read(self, note: Note) -> Labelled:
            if note.id not in ids:
                raise SetAside(aside[note.id])
            return Labelled(note, (), self.marked)

    monkeypatch.setattr(label, "make_teachers", lambda *_: [Picky()])
    out = tmp_path / "out"
    if not ids:
        with pytest.raises(TeacherError, match="failing: no usable answer to any of 3 notes"):
            label_notes([notes], NoteFormat(), [""], out, None)
        assert [path for path in out.rglob("*") if path.is_file()] == []
        return
    tally = label_notes([notes], NoteFormat(), [""], out, None)["failing"]
    assert (tally.labelled, tally.set_aside) == (len(ids), Counter(aside.values()))
    labelled = (out / "failing.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in labelled] == [i for i, _ in NOTES if i in ids]
    listed = out / "quarantine" / "failing.jsonl"
    assert listed.exists() == bool(aside)
    if aside:
        assert listed.read_text() == '{"id": "b", "reason": "no words"}\n'


def test_a_place_that_cannot_be_written_is_named(notes: str, spec: str, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(InputError, match=r"out: cannot be written"):
        label_notes([notes], NoteFormat(), [spec], tmp_path / "out", None)


def test_notes_are_not_written_over(notes: str, spec: str, tmp_path: Path) -> None:
    own = tmp_path / "terms-mine.jsonl"
    Path(notes).rename(own)
    with pytest.raises(InputError, match=r"terms-mine\.jsonl: notes are read from it"):
        label_notes([str(own)], NoteFormat(), [spec], tmp_path, None)


def test_finding_nothing_is_said(
    spec: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    note = tmp_path / "secret.txt"
    note.write_text("well")
    with caplog.at_level(logging.WARNING, "clin_edge"):
        label_notes([str(note)], NoteFormat(), [spec], tmp_path / "out", None)
    assert caplog.messages == ["terms-mine: found nothing in any note"]
