"""Parquet: records out with the fields of the JSON record, notes in row by row."""

from __future__ import annotations

import json
import os
import stat
import sys
import tempfile
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.core.errors import InputError, MissingInstallError
from clin_edge.core.lines import NoteError
from clin_edge.core.notes import Note, NoteFormat
from clin_edge.core.predict import Coverage
from clin_edge.core.records import Record
from clin_edge.core.spans import Entity, Span
from clin_edge.runtime.notes_parquet import parquet_notes
from clin_edge.runtime.writers import parquet
from clin_edge.runtime.writers.parquet import parquet_schema, write_parquet
from clin_edge.runtime.writers.spool import spool_line
from strategies import LABELS, apart, texts

BUNDLE = "sha256:3f9a0c12d4e5"
FMT = NoteFormat()
SECRET = "Zebulon"


def record(note_id: str, text: str, *entities: Entity) -> Record:
    return Record(Note(note_id, text), entities, Coverage(len(text), len(text), 1), BUNDLE)


RECORDS = (
    record(
        "n1",
        "Metformin for diabetes",
        Entity(Span(0, 9), "MEDICATION", 0.99871, "", "present"),
        Entity(Span(14, 22), "DISEASE", 1.0),
    ),
    record("ward/7", ""),
)


def write(folder: Path, *records: Record, with_text: bool = True, name: str = "out") -> Path:
    spool, out = folder / f"{name}.spool", folder / name
    spool.write_bytes("".join(map(spool_line, records)).encode())
    write_parquet(spool, out, with_text=with_text)
    return out


# --- out -----------------------------------------------------------------------------------------


def test_a_file_has_a_row_a_note_and_the_fields_of_the_record(tmp_path: Path) -> None:
    table = pq.read_table(write(tmp_path, *RECORDS))
    assert table.to_pylist() == [
        {
            "id": "n1",
            "entities": [
                {
                    **{"start": 0, "end": 9, "label": "MEDICATION", "text": "Metformin"},
                    **{"score": 0.9987, "assertion": "present"},
                },
                {
                    **{"start": 14, "end": 22, "label": "DISEASE", "text": "diabetes"},
                    **{"score": 1.0, "assertion": None},
                },
            ],
            "coverage": {"chars": 22, "read": 22, "windows": 1},
            "bundle": BUNDLE,
        },
        {
            "id": "ward/7",
            "entities": [],
            "coverage": {"chars": 0, "read": 0, "windows": 1},
            "bundle": BUNDLE,
        },
    ]


def test_the_schema_is_declared_whatever_the_records_hold(tmp_path: Path) -> None:
    expected = parquet_schema(with_text=True)
    for number, records in enumerate([(), RECORDS[1:], RECORDS]):
        found = pq.read_schema(write(tmp_path, *records, name=str(number)))
        assert found.equals(expected)
    fields = expected.field("entities").type.value_type
    assert [(f.name, str(f.type), f.nullable) for f in fields] == [
        ("start", "int64", False),
        ("end", "int64", False),
        ("label", "string", False),
        ("text", "string", False),
        ("score", "double", False),
        ("assertion", "string", True),
    ]


def test_without_text_no_word_is_in_the_file(tmp_path: Path) -> None:
    out = write(tmp_path, *RECORDS, with_text=False)
    assert "text" not in str(pq.read_schema(out))
    assert b"etformin" not in out.read_bytes()
    assert pq.read_table(out).to_pylist()[0]["entities"][0]["score"] == 0.9987


@st.composite
def drawn_record(draw: st.DrawFn, number: int) -> Record:
    text = draw(texts())
    values = st.sampled_from(["", "present", "negated"])
    entities = [
        Entity(span, draw(st.sampled_from(LABELS)), draw(st.floats(0, 1)), "", draw(values))
        for span in draw(apart(len(text)))
    ]
    return record(f"{draw(st.text(max_size=3))}{number}", text, *entities)


@given(st.data(), st.booleans())
def test_rows_are_the_json_records(data: st.DataObject, with_text: bool) -> None:
    records = [data.draw(drawn_record(number)) for number in range(data.draw(st.integers(0, 3)))]
    with tempfile.TemporaryDirectory() as folder:
        rows = pq.read_table(write(Path(folder), *records, with_text=with_text)).to_pylist()
    for row in rows:
        for entity in row["entities"]:
            if entity["assertion"] is None:
                del entity["assertion"]
    assert rows == [json.loads(one.to_json(with_text=with_text)) for one in records]


def test_the_same_spool_gives_the_same_bytes(tmp_path: Path) -> None:
    records = [record(f"n{i}", "fever " * i, *RECORDS[1].entities) for i in range(50)]
    one, other = (write(tmp_path, *records, name=name) for name in ("a", "b"))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    ("limit", "groups"), [("GROUP_NOTES", [2, 2, 1]), ("GROUP_ENTITIES", [1, 2, 2])]
)
def test_a_row_group_is_bounded(tmp_path: Path, monkeypatch, limit, groups) -> None:
    monkeypatch.setattr(parquet, limit, 2)
    entities = [Entity(Span(i, i + 1), "ADE") for i in range(3)]
    records = [record("n0", "fever", *entities)]
    records += [record(f"n{i}", "fever", entities[0]) for i in range(1, 5)]
    meta = pq.ParquetFile(write(tmp_path, *records)).metadata
    assert [meta.row_group(i).num_rows for i in range(meta.num_row_groups)] == groups


def test_memory_is_that_of_a_row_group_whatever_the_texts(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(parquet, "GROUP_NOTES", 100)
    line = spool_line(record("@", "fever and chills " * 1000, Entity(Span(0, 5), "SYMPTOM")))
    with (tmp_path / "spool").open("w", encoding="utf-8") as stream:
        stream.writelines(line.replace("@", str(number)) for number in range(2_000))
    tracemalloc.start()
    try:
        write_parquet(tmp_path / "spool", tmp_path / "out", with_text=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert pq.read_metadata(tmp_path / "out").num_row_groups == 20
    assert peak < 600_000  # the texts of a group come to 1.7 MB


def test_the_file_is_its_owner_s_and_none_is_overwritten(tmp_path: Path) -> None:
    out = write(tmp_path, *RECORDS)
    if os.name == "posix":
        assert stat.S_IMODE(out.stat().st_mode) == 0o600
    before = out.read_bytes()
    with pytest.raises(InputError, match=r"out: cannot be written \(File exists\)"):
        write(tmp_path)
    assert out.read_bytes() == before


def test_without_pyarrow_the_message_is_the_cure(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "n.parquet").write_bytes(b"")
    cure = r"pyarrow is not installed; run: pip install 'clin-edge\[parquet\]'"
    with pytest.raises(MissingInstallError, match=cure):
        write(tmp_path, *RECORDS)
    assert not (tmp_path / "out").exists()
    with pytest.raises(MissingInstallError, match=cure):
        list(parquet_notes(tmp_path / "n.parquet", FMT))


# --- in ------------------------------------------------------------------------------------------


def read(path: Path, fmt: NoteFormat = FMT) -> list[Note]:
    found = [note for _, note in parquet_notes(path, fmt)]
    assert all(isinstance(note, Note) for note in found)
    return found


def table(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@given(st.lists(texts(), max_size=5), st.integers(1, 3))
def test_texts_come_back_as_they_went_in(some: list[str], rows_a_group: int) -> None:
    ids = [f"n{i}" for i in range(len(some))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "n.parquet"
        columns = pa.table({"text": pa.array(some, pa.string()), "id": pa.array(ids, pa.string())})
        pq.write_table(columns, path, row_group_size=rows_a_group)
        assert read(path) == list(map(Note, ids, some))


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())],
    ids=str,
)
def test_any_kind_of_string_is_read(tmp_path: Path, kind: pa.DataType) -> None:
    ids, texts = pa.array(["a", "b"]), pa.array(["x", "é🙂\r\n"])
    if pa.types.is_dictionary(kind):
        columns = {"id": ids.dictionary_encode(), "text": texts.dictionary_encode()}
    else:
        columns = {"id": ids.cast(kind), "text": texts.cast(kind)}
    path = table(tmp_path / "n.parquet", **columns)
    assert read(path) == [Note("a", "x"), Note("b", "é🙂\r\n")]


def test_whole_numbers_are_ids_and_columns_have_names_of_one_s_own(tmp_path: Path) -> None:
    path = table(tmp_path / "n.parquet", note_id=[7, -1], note_text=["x", "y"], other=[None, 1])
    assert read(path, NoteFormat("note_id", "note_text")) == [Note("7", "x"), Note("-1", "y")]


def test_each_bad_row_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    raw = pa.array([b"a", b"", b"ok", SECRET.encode() + b"\xff", b"e", b"f"])
    invalid = pa.StringArray.from_buffers(6, *raw.buffers()[1:])
    path = table(tmp_path / "n.parquet", id=["1", "2", None, "4", "", "6"], text=invalid)
    found = list(parquet_notes(path, FMT))
    assert [note for _, note in found if isinstance(note, Note)] == [
        Note("1", "a"),
        Note("2", ""),
        Note("6", "f"),
    ]
    assert [where for where, _ in found] == [f"{path}: row {i}" for i in range(1, 7)]
    wrong = [note for _, note in found if isinstance(note, NoteError)]
    assert [(str(e), e.reason, e.note_id) for e in wrong] == [
        (f"{path}: row 3: 'id' must be a string, found null", "not-a-note", ""),
        (f"{path}: row 4: 'text' is not UTF-8 (offset 7)", "not-utf8", "4"),
        (f"{path}: row 5: the id is empty", "not-a-note", ""),
    ]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"id": ["a"]}, "needs one column 'text', found 0 among 1; name yours with --id-column"),
        ({"id": ["a"], "text": [b"x"]}, "column 'text' must hold strings, found binary"),
        ({"id": ["a"], "text": [7]}, "column 'text' must hold strings, found int64"),
        ({"id": ["a"], "text": [[SECRET]]}, "column 'text' must hold strings, found list"),
        ({"id": [1.0], "text": ["x"]}, "column 'id' must hold strings, found double"),
    ],
)
def test_columns_of_the_wrong_kind_are_refused(tmp_path: Path, columns, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read(table(tmp_path / "n.parquet", **columns))
    assert SECRET not in str(caught.value)


def test_a_name_that_comes_twice_is_refused(tmp_path: Path) -> None:
    columns = pa.Table.from_arrays([pa.array(["a"])] * 3, names=["id", "text", "text"])
    pq.write_table(columns, tmp_path / "n.parquet")
    with pytest.raises(InputError, match="needs one column 'text', found 2 among 3"):
        read(tmp_path / "n.parquet")


@pytest.mark.parametrize("raw", [b"", b"PAR1", SECRET.encode() * 9, b"PAR1" + b"\0" * 40 + b"PAR1"])
def test_what_is_no_parquet_file_is_one_line(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "n.parquet").write_bytes(raw)
    with pytest.raises(InputError, match=r"n\.parquet: not a Parquet file, or not") as caught:
        read(tmp_path / "n.parquet")
    assert "\n" not in str(caught.value)


def test_a_file_cut_short_or_damaged_anywhere_is_one_line_or_bad_rows(tmp_path: Path) -> None:
    """Never another exception, and never a word of a note."""
    texts = [f"{SECRET} {i}" for i in range(60)]
    path = table(tmp_path / "n.parquet", id=list(map(str, range(60))), text=texts)
    whole = path.read_bytes()
    changed = [whole[:n] for n in range(0, len(whole), 97)]
    changed += [
        whole[:n] + bytes([whole[n] ^ 0xFF]) + whole[n + 1 :] for n in range(0, len(whole), 7)
    ]
    refused = 0
    for raw in changed:
        path.write_bytes(raw)
        try:
            found = [note for _, note in parquet_notes(path, FMT)]
        except InputError as error:
            found = [error]
            refused += 1
        assert SECRET not in " ".join(str(e) for e in found if isinstance(e, InputError))
    assert refused > len(changed) // 4


def test_memory_follows_a_batch_and_not_the_file(tmp_path: Path) -> None:
    path = tmp_path / "n.parquet"
    ids, texts = [str(i) for i in range(20_000)], [f"{i} fever " * 200 for i in range(20_000)]
    columns = pa.table({"id": ids, "text": texts})
    assert columns.nbytes > 40_000_000
    pq.write_table(columns, path, compression="none", use_dictionary=False)
    del columns, ids, texts
    before = pa.total_allocated_bytes()
    tracemalloc.start()  # sees what pyarrow reads by way of the stream
    try:
        decoded = max(pa.total_allocated_bytes() for _ in parquet_notes(path, FMT)) - before
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (decoded < 15_000_000, peak < 15_000_000) == (True, True)
