"""Labelled notes: written and read back, brat's ways, renames, what is marked, every refusal."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clin_edge.core.errors import InputError
from clin_edge.core.labelled import (
    Labelled,
    brat_lines,
    labelled_json,
    parse_map,
    read_labelled,
    read_predictions,
)
from clin_edge.core.notes import Note
from clin_edge.core.spans import Entity, Span
from strategies import labelled, texts

SECRET = "Zebulon"


def jsonl(path: Path, *rows: object) -> Path:
    path.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    return path


def row(note_id: str, text: str, *entities: tuple[int, int, str], **more: object) -> dict:
    listed = [{"start": s, "end": e, "label": lab} for s, e, lab in entities]
    return {"id": note_id, "text": text, "entities": listed, **more}


def brat(folder: Path, **notes: tuple[str, str]) -> Path:
    """A folder with ``name.txt`` and ``name.ann`` for each name, line ends as given."""
    folder.mkdir(exist_ok=True)
    for name, (text, lines) in notes.items():
        (folder / f"{name}.txt").write_bytes(text.encode())
        (folder / f"{name}.ann").write_bytes(lines.encode())
    return folder


def found(place: Path, renames: dict[str, str] | None = None) -> list[list[tuple[int, int, str]]]:
    read = read_labelled(place, renames)
    return [[(e.span.start, e.span.end, e.label) for e in item.entities] for item in read]


def refusal(place: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_labelled(place)
    message = str(caught.value)
    assert SECRET not in message
    assert "\n" not in message
    return message


# --- JSONL ---------------------------------------------------------------------------------------


@given(st.lists(labelled(), min_size=1, max_size=4, unique_by=lambda item: item.note.id))
def test_labelled_notes_are_read_back_as_they_were_written(items: list[Labelled]) -> None:
    with tempfile.TemporaryDirectory() as made:
        path = Path(made, "silver.jsonl")
        path.write_bytes("".join(labelled_json(item) + "\n" for item in items).encode())
        assert read_labelled(path) == items
        assert {i: tuple(found) for i, found in read_predictions(path).items()} == {
            item.note.id: item.entities for item in items
        }


def test_a_labelled_note_is_one_line_of_json() -> None:
    entities = (Entity(Span(0, 7), "MEDICATION", source="rxnorm:900001"), Entity(Span(8, 9), "A|B"))
    item = Labelled(Note("n/1", "aspirin é\r\n"), entities, frozenset({"MEDICATION", "A|B"}))
    assert labelled_json(item) == (
        '{"id": "n/1", "text": "aspirin é\\r\\n", "entities": ['
        '{"start": 0, "end": 7, "label": "MEDICATION", "source": "rxnorm:900001"}, '
        '{"start": 8, "end": 9, "label": "A|B"}], "marked": ["A|B", "MEDICATION"]}'
    )
    assert "aspirin" not in repr(item)


def test_a_note_may_have_no_entities_and_scores_and_sources_are_read(tmp_path: Path) -> None:
    scored = {"start": 0, "end": 4, "label": "A", "score": 0.25, "source": "who"}
    path = jsonl(
        tmp_path / "a.jsonl", {"id": "1", "text": ""}, row("2", "pain") | {"entities": [scored]}
    )
    none, one = read_labelled(path)
    assert none.entities == ()
    assert one.entities == (Entity(Span(0, 4), "A", 0.25, "who"),)


def test_a_score_below_one_is_written_in_four_decimals(tmp_path: Path) -> None:
    entities = (Entity(Span(0, 4), "A", 2 / 3, "a:1+b"), Entity(Span(5, 6), "A", 1.0))
    line = labelled_json(Labelled(Note("n", "pain x"), entities, frozenset("A")))
    assert line.count("score") == 1
    (tmp_path / "a.jsonl").write_text(line)
    (read,) = read_labelled(tmp_path / "a.jsonl")
    assert read.entities == (Entity(Span(0, 4), "A", 0.6667, "a:1+b"), entities[1])


# --- which labels a source marks at all ----------------------------------------------------------


def test_without_marked_a_file_marks_all_labels_seen_in_it(tmp_path: Path) -> None:
    """Also in the notes that have none of them; a note that says what it marks is believed."""
    path = jsonl(
        tmp_path / "a.jsonl",
        row("1", "pain", (0, 4, "SYMPTOM")),
        row("2", "none"),
        row("3", "pain", (0, 4, "SYMPTOM"), marked=["ROUTE", "SYMPTOM"]),
        row("4", "aspirin", (0, 7, "MEDICATION"), marked=[]),
        row("5", "stroke", (0, 6, "DISEASE"), marked=None),
    )
    seen = {"SYMPTOM", "MEDICATION", "DISEASE"}
    assert [set(item.marked) for item in read_labelled(path)] == [
        seen,
        seen,
        {"ROUTE", "SYMPTOM"},
        set(),
        seen,
    ]


def test_a_label_that_means_one_of_two_covers_both() -> None:
    item = Labelled(Note("n", "x"), (), frozenset({"DISEASE|SYMPTOM", "ROUTE"}))
    assert item.covered == {"DISEASE", "SYMPTOM", "ROUTE"}


# --- renames -------------------------------------------------------------------------------------


def test_labels_are_renamed_in_entities_and_in_marked(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "a.jsonl",
        row("1", "aspirin pain", (0, 7, "Drug"), (8, 12, "Problem"), marked=["Drug", "Problem"]),
        row("2", "daily", (0, 5, "Frequency")),
    )
    renames = parse_map(["n2c2", "Problem=DISEASE|SYMPTOM"])
    one, two = read_labelled(path, renames)
    assert [e.label for e in one.entities] == ["MEDICATION", "DISEASE|SYMPTOM"]
    assert one.marked == {"MEDICATION", "DISEASE|SYMPTOM"}
    assert two.marked == {"MEDICATION", "DISEASE|SYMPTOM", "FREQUENCY"}


def test_n2c2_names_its_nine_types() -> None:
    renames = parse_map(["n2c2"])
    old = ["Drug", "Strength", "Form", "Dosage", "Route", "Frequency", "Duration", "Reason", "ADE"]
    assert sorted(renames) == sorted(old)
    assert renames.pop("Drug") == "MEDICATION"
    assert all(new == name.upper() for name, new in renames.items())


def test_a_later_rename_overrules_an_earlier_one() -> None:
    assert parse_map(["n2c2", "Reason=DISEASE|SYMPTOM"])["Reason"] == "DISEASE|SYMPTOM"
    assert parse_map(["Reason=DISEASE", "Problem=SYMPTOM", "n2c2"]) == {
        "Problem": "SYMPTOM",
        **parse_map(["n2c2"]),
    }
    assert parse_map(["a=b=c"]) == {"a": "b=c"}
    assert parse_map([]) == {}


@pytest.mark.parametrize("pair", ["Drug", "=X", "Drug=", "Drug=A|", "Drug=|", "N2C2"])
def test_a_rename_of_another_form_is_refused(pair: str) -> None:
    with pytest.raises(InputError, match="expected FROM=TO") as caught:
        parse_map([pair])
    assert pair in str(caught.value)


# --- brat ----------------------------------------------------------------------------------------


def test_brat_fragments_become_one_span_from_first_to_last(tmp_path: Path) -> None:
    folder = brat(
        tmp_path / "b",
        one=("pain in left arm", "T1\tSYMPTOM 0 4;13 16\tpain arm\nT2\tSITE 8 16\tleft arm\n"),
        two=("fever", ""),
    )
    assert found(folder) == [[(0, 16, "SYMPTOM"), (8, 16, "SITE")], []]
    assert [set(item.marked) for item in read_labelled(folder)] == [{"SYMPTOM", "SITE"}] * 2


def test_all_but_entity_lines_of_an_ann_file_are_passed_over(tmp_path: Path) -> None:
    lines = [
        "T1\tDrug 0 7\taspirin",
        "#1\tAnnotatorNotes T1\tsure?",
        "R1\tTreats Arg1:T1 Arg2:T2",
        "E1\tT1 Arg:T2",
        "A1\tNegated T1",
        "*\tEquiv T1 T2",
        "",
        "T22\tReason 8 12",
    ]
    for name, end in (("unix", "\n"), ("dos", "\r\n")):
        folder = brat(tmp_path / name, a=("aspirin pain", end.join(lines) + end))
        assert found(folder, {"Drug": "MEDICATION"}) == [[(0, 7, "MEDICATION"), (8, 12, "Reason")]]


def test_brat_places_count_crlf_as_two_and_an_emoji_as_one(tmp_path: Path) -> None:
    text = "a\r\n🙂 pain\r\n"
    folder = brat(tmp_path / "b", a=(text, "T1\tSYMPTOM 5 9\tpain\r\n"))
    (item,) = read_labelled(folder)
    span = item.entities[0].span
    assert item.note.text[span.start : span.end] == "pain"


def test_a_byte_order_mark_in_an_ann_file_loses_no_entity(tmp_path: Path) -> None:
    folder = brat(tmp_path / "b", a=("pain", "\ufeffT1\tSYMPTOM 0 4\tpain\n"))
    assert found(folder) == [[(0, 4, "SYMPTOM")]]


def test_folders_below_a_brat_folder_are_read_too(tmp_path: Path) -> None:
    brat(tmp_path / "b")
    folder = brat(tmp_path / "b" / "ward", a=("pain", "T1\tSYMPTOM 0 4\tpain\n")).parent
    assert [item.note.id for item in read_labelled(folder)] == ["ward/a"]
    assert found(folder) == [[(0, 4, "SYMPTOM")]]


def test_a_span_over_a_line_break_is_written_as_fragments_around_it() -> None:
    text = "chest\r\npain\n\nand fever"
    entities = [Entity(Span(0, 11), "SYMPTOM"), Entity(Span(7, 22), "DISEASE|SYMPTOM")]
    assert brat_lines(entities, text) == (
        "T1\tSYMPTOM 0 5;7 11\tchest pain\nT2\tDISEASE|SYMPTOM 7 11;13 22\tpain and fever\n"
    )
    assert brat_lines([], text) == ""


@given(labelled())
@example(Labelled(Note("n", "a\r\nb"), (Entity(Span(0, 4), "A"),), frozenset("A")))
def test_brat_files_are_read_back_as_they_were_written(item: Labelled) -> None:
    """For every entity that does not itself begin or end with a line break: brat has none."""
    text = item.note.text.lstrip("\ufeff\r\n ")
    breaks = "\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029"
    entities = [
        Entity(Span(start, end), e.label)
        for e in item.entities
        if (quote := text[e.span.start : e.span.end]).strip()
        for start in [e.span.start + len(quote) - len(quote.lstrip(breaks))]
        for end in [e.span.start + len(quote.rstrip(breaks))]
    ]
    lines = brat_lines(entities, text)
    assert lines.count("\n") == len(entities)
    assert "\r" not in lines
    for line, entity in zip(lines.split("\n"), entities, strict=False):
        quote = text[entity.span.start : entity.span.end]
        assert line.split("\t", 2)[2] == re.sub(f"[{breaks}]+", " ", quote)
    if text:
        with tempfile.TemporaryDirectory() as made:
            (read,) = read_labelled(brat(Path(made), n=(text, lines)))
        assert read.note == Note("n", text)
        assert list(read.entities) == entities


@given(texts(6), st.data())
def test_whatever_span_is_written_as_brat_its_line_can_be_read(text: str, data) -> None:
    """A student may find an entity that is only a line break; its line must not spoil the file."""
    if not text:
        return
    start = data.draw(st.integers(0, len(text) - 1))
    span = Span(start, data.draw(st.integers(start + 1, len(text))))
    for line in filter(None, brat_lines([Entity(span, "A")], text).split("\n")):
        assert re.match(r"T1\tA \d+ \d+(;\d+ \d+)*\t", line)


# --- refusals ------------------------------------------------------------------------------------

TEXT = f"{SECRET} has pain"  # 16 characters


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row("n2", TEXT, (0, 17, "A")), "entity 1: ends at 17, after the text's 16 characters"),
        (row("n2", TEXT, (0, 3, "A"), (3, 3, "A")), "entity 2: span needs 0 <= start < end"),
        (row("n2", TEXT, (5, 2, "A")), "entity 1: span needs 0 <= start < end, got [5, 2)"),
        (row("n2", TEXT, (-1, 2, "A")), "entity 1: span needs 0 <= start < end, got [-1, 2)"),
        (row("n2", TEXT, (7, 8, "A")), "entity 1: [7, 8) covers blanks only"),
        (row("n2", "a\r\n\u3000b", (1, 4, "A")), "entity 1: [1, 4) covers blanks only"),
        (row("n2", TEXT, (0, 3, "")), "entity 1: an entity needs a label"),
        (row("n2", TEXT, (0, 3, "A|")), "entity 1: an entity needs a label"),
        (row("n2", TEXT, (0.0, 3, "A")), "entity 1: 'start' and 'end' must be whole numbers"),
        (row("n2", TEXT, (False, 3, "A")), "entity 1: 'start' and 'end' must be whole numbers"),
        (row("n2", TEXT, (0, True, "A")), "entity 1: 'start' and 'end' must be whole numbers"),
        (row("n2", TEXT, ("0", 3, "A")), "entity 1: 'start' and 'end' must be whole numbers"),
        (row("n2", TEXT, (0, 3, 5)), "entity 1: expected an object with start, end and label"),
        (row("n2", TEXT) | {"entities": [[0, 3, SECRET]]}, "entity 1: expected an object"),
        (row("n2", TEXT) | {"entities": {SECRET: 1}}, "'entities' must be a list"),
        (row("n2", TEXT) | {"entities": None}, "'entities' must be a list"),
        (row("n2", TEXT, marked="A"), "'marked' must be a list of labels"),
        (row("n2", TEXT, marked=["A", 1]), "'marked' must be a list of labels"),
        (row("n1", TEXT), "the id came before"),
        (row("n2", TEXT + "\ud800"), "the text has a lone surrogate at character 16"),
    ],
)
def test_a_bad_labelled_note_is_refused_with_file_line_and_id(tmp_path, bad, message) -> None:
    path = jsonl(tmp_path / "a.jsonl", row("n1", "fine", (0, 4, "A")), bad, row("n3", "fine"))
    assert refusal(path).startswith(f"{path}:2 (id {bad['id']!r}): {message}")


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (1.5, "a score lies in [0, 1], got 1.5"),
        (-1, "a score lies in [0, 1], got -1"),
        (float("nan"), "a score lies in [0, 1], got nan"),
        pytest.param(10**400, "score", id="huge"),
        ("0.5", "'score' must be a number"),
        (True, "'score' must be a number"),
        (None, "'score' must be a number"),
    ],
)
def test_a_bad_score_is_refused_with_file_line_and_id(tmp_path, score, message) -> None:
    scored = {"start": 0, "end": 3, "label": "A", "score": score}
    path = jsonl(tmp_path / "a.jsonl", row("n1", TEXT) | {"entities": [scored]})
    start = f"{path}:1 (id 'n1'): entity 1: "
    assert refusal(path).startswith(start)
    assert message.lower() in refusal(path).lower()
    with pytest.raises(InputError, match=re.escape(start)):
        read_predictions(path)


@pytest.mark.parametrize(
    "bad", [{"text": TEXT}, {"id": 7, "text": TEXT}, {"id": "n2"}, {"id": "n2", "text": [TEXT]}]
)
def test_a_labelled_note_without_id_or_text_is_refused_with_file_and_line(tmp_path, bad) -> None:
    path = jsonl(tmp_path / "a.jsonl", row("n1", "fine"), bad)
    assert refusal(path) == f"{path}:2: a labelled note needs strings 'id' and 'text'"


def test_an_empty_id_is_refused(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", row("", TEXT))
    assert refusal(path) == f"{path}:1 (id ''): the id is empty"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("T2\tA 0 17\tx", "ends at 17, after the text's 16 characters"),
        ("T2\tA 0 3;9 17\tx", "ends at 17, after the text's 16 characters"),
        ("T2\tA 3 3\t", "span needs 0 <= start < end, got [3, 3)"),
        ("T2\tA 7 8\t ", "[7, 8) covers blanks only"),
        ("T2\tA 0\tZebulon", "not a brat entity line"),
        ("T2\tA 0 3 9 12\tZebulon", "not a brat entity line"),
        ("T2\tA 0 3;\tZebulon", "not a brat entity line"),
        ("T2\tA -1 3\tZebulon", "not a brat entity line"),
        ("T2 A 0 3 Zebulon", "not a brat entity line"),
        ("T2\t0 3\tZebulon", "not a brat entity line"),
        ("Tx\tA 0 3\tZebulon", "not a brat entity line"),
        ("T2\tA| 0 3\tZebulon", "an entity needs a label"),
    ],
)
def test_a_bad_brat_line_is_refused_with_file_line_and_id(tmp_path, line, message) -> None:
    folder = brat(tmp_path / "b", n1=(TEXT, f"T1\tA 0 3\tx\r\n#1\tnote\r\n{line}\r\n"))
    assert refusal(folder).startswith(f"{folder / 'n1.ann'}:3 (id 'n1'): {message}")


def test_a_brat_note_without_its_ann_is_refused(tmp_path: Path) -> None:
    folder = brat(tmp_path / "b", n1=(TEXT, ""), n2=(TEXT, ""))
    (folder / "n2.ann").unlink()
    assert refusal(folder).startswith(f"{folder / 'n2.ann'}: missing; every .txt")


def test_an_ann_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    folder = brat(tmp_path / "b", n1=(TEXT, ""))
    (folder / "n1.ann").write_bytes(b"T1\tA 0 3\tZeb\xff")
    assert refusal(folder) == f"{folder / 'n1.ann'}: not UTF-8 at byte 12"


def test_places_that_hold_no_labelled_notes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text(SECRET)
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "folder").mkdir()
    for name, message in [
        ("notes.csv", "labelled notes are a .jsonl file or a folder of .txt and .ann"),
        ("empty.jsonl", "holds no labelled notes"),
        ("folder", "holds no notes"),
        ("gone.jsonl", "cannot be read (No such file or directory)"),
    ]:
        assert refusal(tmp_path / name).startswith(f"{tmp_path / name}: {message}")


def test_json_that_is_none_is_refused_as_for_notes(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id": "1", "text": ""}\n{"id": "2", "text": "Zebulon}\n')
    assert refusal(path).startswith(f"{path}:2: not JSON")
    with pytest.raises(InputError, match=":2: not JSON"):
        read_predictions(path)


# --- predictions ---------------------------------------------------------------------------------


def test_predictions_are_read_from_records_without_their_text(tmp_path: Path) -> None:
    record = {
        "id": "n1",
        "entities": [{"start": 3, "end": 9, "label": "A", "text": "pain", "score": 0.5}],
        "coverage": {"chars": 9, "read": 9, "windows": 1},
        "bundle": "sha256:0",
    }
    path = jsonl(tmp_path / "r.jsonl", record, {"id": "n2"})
    assert read_predictions(path) == {"n1": [Entity(Span(3, 9), "A", 0.5)], "n2": []}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"id": "n1"}, ":2: 'id' must be a string that did not come before"),
        ({"id": 3}, ":2: 'id' must be a string that did not come before"),
        ({}, ":2: 'id' must be a string that did not come before"),
        (row("n2", "", (4, 3, "A")), ":2 (id 'n2'): entity 1: span needs"),
        (row("n2", "", (3, 4, "")), ":2 (id 'n2'): entity 1: an entity needs a label"),
    ],
)
def test_bad_predictions_are_refused_with_file_and_line(tmp_path, bad, message) -> None:
    path = jsonl(tmp_path / "r.jsonl", {"id": "n1"}, bad)
    with pytest.raises(InputError, match=re.escape(f"{path}{message}")):
        read_predictions(path)


def test_predictions_that_are_missing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gone: cannot be read"):
        read_predictions(tmp_path / "gone")
