"""Notes read in Arrow batches: the rows are the records of ``extract``, also in a Spark session.

The session needs pyspark and Java (``make spark-test``); the rest is tried on Arrow batches alone.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from clin_edge.core.errors import BundleError, InputError
from clin_edge.core.notes import Note
from clin_edge.core.predict import Coverage
from clin_edge.core.records import Record
from clin_edge.core.spans import Entity, Span
from clin_edge.runtime import crew, spark, spawning
from clin_edge.runtime.frames import Order
from clin_edge.runtime.pipeline import Pipeline
from clin_edge.runtime.spark import SCHEMA, MapInArrow, arrow_schema, dismiss
from toy import toy_bundle, toy_openvino, toy_weights, wordpiece_json

GOOD = (
    "patient takes Metformin for diabetes; denies fever.",
    "",
    "chest\r\npain 🙂 éé",
    " \r\n\t",
    "metformin " * 60,
    "Patient with asthma has had cough, rash and chest pain on admission. " * 9,
)
CRASH = "Zebulon takes lisinopril"  # see ``folder``
BAD = {
    "not-a-note": None,
    "not-utf8": b"Zebulon caf\xe9 metformin",
    "too-long": "Zebulon " * 500,
    "failed": CRASH,
}
LIMIT = 3000
FAULTY = (sys.executable, "-P", str(Path(__file__).parents[1] / "faulty_worker.py"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose network answers "lisinopril" with what is not a number: reading it raises."""
    weights = np.ascontiguousarray(toy_weights()["table"])
    row = Tokenizer.from_buffer(wordpiece_json()).token_to_id("lisinopril")
    broken = weights.copy()
    broken[row] = np.nan
    model = toy_openvino()["model.bin"]
    assert model.count(weights.tobytes()) == 1
    files = {"model.bin": model.replace(weights.tobytes(), broken.tobytes())}
    return toy_bundle(tmp_path_factory.mktemp("spark") / "b", files=files).path


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> Pipeline:
    """What reads notes without Spark."""
    return Pipeline.from_bundle(folder, threads=1)


@pytest.fixture(scope="module", autouse=True)
def nobody_left() -> Iterator[None]:
    """No process outlives the tests."""
    yield
    dismiss()


def as_bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def batch(notes: Sequence[tuple[Any, Any]], **more: Any) -> pa.RecordBatch:
    """Notes as Spark gives them: bytes that nobody has looked at are strings to it."""
    columns = {}
    for name, values in zip(("id", "text"), zip(*notes, strict=True), strict=True):
        columns[name] = pa.array(map(as_bytes, values), pa.binary()).view(pa.string())
    return pa.RecordBatch.from_pydict({**columns, **more})


def rows(function: MapInArrow, *batches: pa.RecordBatch) -> list[dict[str, Any]]:
    return [row for out in function(iter(batches)) for row in out.to_pylist()]


def without_nulls(row: Any) -> Any:
    """A row as JSON would have it: what is null is not there."""
    if isinstance(row, dict):
        return {key: without_nulls(value) for key, value in row.items() if value is not None}
    return [without_nulls(item) for item in row] if isinstance(row, list) else row


def records(pipeline: Pipeline, notes: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    found = pipeline.records((Note(*note) for note in notes), context=True)
    return [json.loads(record.to_json()) for record in found]


def numbered(texts: Sequence[Any]) -> list[tuple[str, Any]]:
    return [(f"n{i}", text) for i, text in enumerate(texts)]


# --- rows are records ----------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("--no-text", "--no-context", "--min-score", "0.8")])
def test_rows_are_the_records_extract_writes(folder, tmp_path, options) -> None:
    notes = numbered(GOOD * 3)
    given_notes = tmp_path / "notes.jsonl"
    given_notes.write_text("".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in notes))
    line = ("extract", given_notes, "--bundle", folder, "--threads", "1", *options)
    line = (sys.executable, "-m", "clin_edge", *map(str, line))
    written = subprocess.run(line, check=True, capture_output=True, encoding="utf-8").stdout
    expected = [json.loads(found) for found in written.split("\n")[:-1]]
    changed = {"with_text": False, "context": False, "min_score": 0.8} if options else {}
    function = MapInArrow(str(folder), **changed)
    found = rows(function, batch(notes[:5]), batch(notes[5:]))
    assert [without_nulls(row) for row in found] == expected
    assert sum(len(row["entities"]) for row in found) > 20


def test_what_a_record_can_hold_is_what_a_row_can_hold() -> None:
    entity = Entity(Span(0, 5), "SYMPTOM", 0.5, assertion="negated")
    record = Record(Note("n", "fever"), (entity,), Coverage(5, 5, 1), "sha256:0")
    row = json.loads(record.to_json())
    schema = arrow_schema()
    assert [*row, "error"] == schema.names
    assert list(row["coverage"]) == [field.name for field in schema.field("coverage").type]
    entity_type = schema.field("entities").type.value_type
    assert list(row["entities"][0]) == [field.name for field in entity_type]
    assert without_nulls(pa.RecordBatch.from_pylist([row], schema=schema).to_pylist()) == [row]


def in_spark_s_words(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"array<{in_spark_s_words(kind.value_type)}>"
    if pa.types.is_struct(kind):
        inside = (f"{field.name}: {in_spark_s_words(field.type)}" for field in kind)
        return f"struct<{', '.join(inside)}>"
    return {"int64": "bigint"}.get(str(kind), str(kind))


def test_both_schemas_say_the_same() -> None:
    columns = [f"{field.name} {in_spark_s_words(field.type)}" for field in arrow_schema()]
    assert SCHEMA.replace("`", "") == ", ".join(columns)


# --- notes that fail -----------------------------------------------------------------------------


@given(st.lists(st.sampled_from([*GOOD, *BAD.values()]), min_size=1, max_size=12))
@settings(max_examples=20)
def test_one_note_never_changes_or_stops_another(folder, pipeline, texts) -> None:
    reasons = {text: reason for reason, text in BAD.items()}
    notes = numbered(texts)
    function = MapInArrow(str(folder), max_note_chars=LIMIT)
    found = rows(function, batch([("n", "fever")]), batch(notes))
    for row, (note_id, text) in zip(found[1:], notes, strict=True):
        if text in reasons:
            assert without_nulls(row) == {"id": note_id, "error": reasons[text]}
        else:
            assert [without_nulls(row)] == records(pipeline, [(note_id, text)])


def test_what_is_no_note_is_a_row_that_says_so(folder: Path) -> None:
    wanted = [
        ((None, "Zebulon"), {"error": "not-a-note"}),
        (("", "Zebulon"), {"id": "", "error": "not-a-note"}),
        ((None, None), {"error": "not-a-note"}),
        ((b"Zebulon \xff", "fever"), {"error": "not-utf8"}),
        (("n", b"Zebulon \xed\xa0\x80"), {"id": "n", "error": "not-utf8"}),  # half a character
    ]
    found = rows(MapInArrow(str(folder)), batch([note for note, _ in wanted]))
    assert [without_nulls(row) for row in found] == [row for _, row in wanted]


def test_a_note_over_which_a_process_dies_is_a_row_too(folder, pipeline, monkeypatch) -> None:
    dismiss()
    monkeypatch.setattr(spawning, "COMMAND", FAULTY)
    good = numbered(GOOD)
    notes = [*good[:3], ("x0", "Zebulon SEGV"), *good[3:], ("x1", "Zebulon HANG"), ("x1", "fever")]
    found = rows(MapInArrow(str(folder), note_timeout_s=2), batch(notes))
    dismiss()
    bad = [{"id": "x0", "error": "crash"}, {"id": "x1", "error": "time"}]
    expected = records(pipeline, [*good, ("x1", "fever")])
    expected[3:3], expected[-1:] = bad[:1], [bad[1], expected[-1]]
    assert [without_nulls(row) for row in found] == expected


# --- the function --------------------------------------------------------------------------------


def test_a_model_is_loaded_once_for_all_tasks_of_a_worker(folder, monkeypatch) -> None:
    started = []

    class Counted(crew.Crew):
        def __init__(self, order: Order, **more: Any) -> None:
            started.append((order.threads, order.batch_tokens))
            super().__init__(order, **more)

    dismiss()
    monkeypatch.setattr(spark, "Crew", Counted)
    for _ in range(3):  # a task has its own copy of the function
        rows(copy.copy(MapInArrow(str(folder))), batch(numbered(GOOD)), batch(numbered(GOOD)))
    assert started == [(1, None)]
    rows(MapInArrow(str(folder), batch_tokens=16), batch(numbered(GOOD)))
    assert started == [(1, None), (1, 16)]


def test_rows_are_given_before_the_next_notes_are_asked_for(folder: Path) -> None:
    def two() -> Iterator[pa.RecordBatch]:
        yield batch(numbered(GOOD))
        raise AssertionError("asked for too soon")

    assert next(MapInArrow(str(folder))(two())).num_rows == len(GOOD)


def test_other_columns_and_empty_batches_do_no_harm(folder: Path) -> None:
    notes = numbered(GOOD)
    plain = batch(notes)
    wide = batch(notes, site=pa.array([1] * len(notes)))
    large = pa.RecordBatch.from_arrays(
        [c.cast(pa.large_string()) for c in plain.columns], ["i", "t"]
    )
    expected = rows(MapInArrow(str(folder)), plain)
    assert rows(MapInArrow(str(folder)), wide, plain.slice(0, 0)) == expected
    assert rows(MapInArrow(str(folder), id_column="i", text_column="t"), large) == expected
    assert rows(MapInArrow(str(folder)), plain.slice(2, 3)) == expected[2:5]
    assert rows(MapInArrow(str(folder))) == []


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["a"], "note": ["Zebulon"]}, "needs one column 'text', found 0"),
        ({"id": [7], "text": ["Zebulon"]}, "column 'id' is int64; cast it to string first"),
        ({"id": ["a"], "text": [b"Zebulon"]}, "column 'text' is binary; cast"),
    ],
)
def test_columns_that_hold_no_notes_end_the_task(folder, columns, message) -> None:
    with pytest.raises(InputError, match=message) as caught:
        rows(MapInArrow(str(folder)), pa.RecordBatch.from_pydict(columns))
    assert "Zebulon" not in str(caught.value)


def test_a_bundle_that_was_altered_ends_the_task(tmp_path: Path) -> None:
    place = toy_bundle(tmp_path / "b").path
    (place / "model.bin").write_bytes(b"")
    with pytest.raises(BundleError, match=r"model\.bin: altered"):
        rows(MapInArrow(str(place)), batch(numbered(GOOD)))


NAN = {"min_score": float("nan"), "note_timeout_s": float("nan")}
ZERO = dict.fromkeys(
    ("note_timeout_s", "memory_mb", "threads", "batch_tokens", "max_note_chars"), 0
)
WRONG = [("engine", "torch"), ("min_score", 1.1), *NAN.items(), *ZERO.items()]


@pytest.mark.parametrize(("option", "value"), WRONG)
def test_options_are_refused_on_the_driver(option: str, value: object) -> None:
    with pytest.raises(ValueError, match=option):
        MapInArrow(**{option: value})


def test_only_plain_fields_travel() -> None:
    function = MapInArrow("b", min_score=0.5)
    assert copy.copy(function) == function
    assert {*map(type, dataclasses.astuple(function))} == {str, int, float, bool, type(None)}


def test_the_driver_needs_no_engine_and_no_arrow_to_make_it() -> None:
    code = "import sys; sys.modules['pyarrow'] = None; import clin_edge.runtime.spark as it; "
    code += "it.MapInArrow(); assert not {'openvino', 'onnxruntime', 'pyspark'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- Spark itself --------------------------------------------------------------------------------

QUICK_START = {
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "7",  # several batches a task
}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Spark session of two workers in this machine, on loopback."""
    sql = pytest.importorskip("pyspark.sql", reason="needs pyspark: make spark-test")
    if not (shutil.which("java") or "JAVA_HOME" in os.environ):
        pytest.skip("needs Java")
    place = tmp_path_factory.mktemp("session")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patch.chdir(place)
        builder = sql.SparkSession.builder.master("local[2]")
        for name, value in {**QUICK_START, "spark.local.dir": str(place)}.items():
            builder = builder.config(name, value)
        running = builder.getOrCreate()
        running.sparkContext.setLogLevel("OFF")
        yield running
        running.stop()


def test_in_spark_rows_are_records_and_bad_notes_are_told(session, folder, pipeline) -> None:
    good = numbered(GOOD * 4)
    bad = [(f"x{i}", text) for i, text in enumerate(BAD.values())] + [(None, "Zebulon")]
    mixed = [*good[:9], *bad[:2], *good[9:], *bad[2:]]
    raw = [(note_id, as_bytes(text)) for note_id, text in mixed]
    frame = session.createDataFrame(raw, "id string, text binary")
    frame = frame.selectExpr("id", "cast(text as string) as text")  # Spark looks at no byte
    found = frame.mapInArrow(MapInArrow(str(folder), max_note_chars=LIMIT), SCHEMA).collect()
    by_id = {row["id"]: without_nulls(row.asDict(recursive=True)) for row in found}
    assert [row["id"] for row in found] == [note_id for note_id, _ in mixed]
    assert [by_id[note_id] for note_id, _ in good] == records(pipeline, good)
    assert [by_id[note_id].pop("error") for note_id, _ in bad] == [*BAD, "not-a-note"]
    assert [by_id[note_id] for note_id, _ in bad] == [{"id": f"x{i}"} for i in range(4)] + [{}]


def test_in_spark_a_note_that_kills_its_process_stops_nobody(session, folder, pipeline) -> None:
    function, command = MapInArrow(str(folder)), FAULTY

    def poisoned(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from clin_edge.runtime import spawning

        spawning.COMMAND = command
        return function(batches)

    notes = [("n0", "fever"), ("x", "Zebulon SEGV"), ("n1", "no pain")]
    frame = session.createDataFrame(notes, "id string, text string").coalesce(1)
    found = [row.asDict(recursive=True) for row in frame.mapInArrow(poisoned, SCHEMA).collect()]
    expected = records(pipeline, [notes[0], notes[2]])
    expected[1:1] = [{"id": "x", "error": "crash"}]
    assert [without_nulls(row) for row in found] == expected
