"""extract: resumed, with notes set aside, in every form."""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import pytest

from clin_edge.core.bundle import Bundle
from clin_edge.core.errors import InputError
from clin_edge.core.notes import Note, NoteFormat
from clin_edge.runtime import extract as extract_module
from clin_edge.runtime import spawning
from clin_edge.runtime.extract import CHUNK_CHARS, Extraction, chunks, extract
from toy import toy_bundle

SECRET = "Zebulon"
FAULTY = (sys.executable, "-P", str(Path(__file__).parents[1] / "faulty_worker.py"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle(tmp_path_factory.mktemp("extract") / "bundle", "openvino").path


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLIN_EDGE_THREADS", "1")
    monkeypatch.setattr(extract_module, "CHUNK_NOTES", 2)


def write(path: str, texts: dict[str, str]) -> None:
    lines = (json.dumps({"id": i, "text": text}) + "\n" for i, text in texts.items())
    Path(path).write_text("".join(lines))


NOTES = {f"n{i}": f"{SECRET} has chest pain, day {i}; metformin" for i in range(7)}


def job(bundle: Path, **changes: object) -> Extraction:
    given: dict[str, object] = {"places": ("notes.jsonl",), "out": Path("out"), "workers": 0}
    return Extraction(bundle=bundle, **{**given, **changes})  # type: ignore[arg-type]


def stop_after(n_chunks: int, work: Extraction) -> None:
    """Interrupt an extraction once so many chunks are safe."""
    seen = []

    def tell(_: object) -> None:
        seen.append(1)
        if len(seen) == n_chunks:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(work, tell=tell)


def files() -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in Path().rglob("*") if p.is_file()}


FORMS = ["jsonl", "csv", "brat", "html", "omop", "parquet"]


@pytest.mark.parametrize("fmt", FORMS)
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(bundle, fmt) -> None:
    write("notes.jsonl", {str(i): text for i, text in enumerate(NOTES.values(), start=1)})
    whole = extract(job(bundle, fmt=fmt, out=Path("whole/out")))
    stop_after(2, job(bundle, fmt=fmt, out=Path("broken/out")))
    assert {path.name for path in Path("broken").iterdir()} == {"out.journal", "out.partial"}
    tally = extract(job(bundle, fmt=fmt, out=Path("broken/out"), resume=True))
    assert (tally.notes, tally.before, tally.words) == (7, 4, whole.words)
    found = files()
    made = {name.removeprefix("whole/"): raw for name, raw in found.items() if "whole/" in name}
    assert made == {
        name.removeprefix("broken/"): raw for name, raw in found.items() if "broken/" in name
    }


OTHER = {
    "set of options": {"min_score": 0.5},
    "input": {"places": ("other.jsonl",)},
    "bundle": {"bundle": None},
}


@pytest.mark.parametrize("what", OTHER)
def test_another_job_does_not_go_on(bundle, tmp_path_factory, what) -> None:
    write("notes.jsonl", NOTES)
    write("other.jsonl", {**NOTES, "n6": "changed"})
    stop_after(2, job(bundle))
    before = files()
    changes = dict(OTHER[what])
    if what == "bundle":
        place = tmp_path_factory.mktemp("other") / "b"
        changes = {"bundle": toy_bundle(place, "openvino", name="another").path}
    with pytest.raises(InputError, match=f"out.partial: was begun with another {what}; run"):
        extract(
            Extraction(
                **{
                    "places": ("notes.jsonl",),
                    "out": Path("out"),
                    "workers": 0,
                    "bundle": bundle,
                    "resume": True,
                    **changes,
                }
            )
        )
    assert files() == before


def test_threads_workers_and_batches_may_change_on_the_way(bundle) -> None:
    write("notes.jsonl", NOTES)
    extract(job(bundle, out=Path("whole")))
    stop_after(1, job(bundle))
    extract(job(bundle, resume=True, workers=2, threads=1, batch_tokens=64))
    assert Path("out").read_bytes() == Path("whole").read_bytes()


def test_notes_that_change_under_the_work_are_not_passed_off_as_read(bundle) -> None:
    write("notes.jsonl", NOTES)
    real = extract_module.check_notes

    def check_then_change(*args: object, **options: object) -> object:
        seen = real(*args, **options)  # type: ignore[arg-type]
        write("notes.jsonl", {**NOTES, "n0": "fever"})
        return seen

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extract_module, "check_notes", check_then_change)
        with pytest.raises(InputError, match="were changed while they were read"):
            extract(job(bundle))
    assert not Path("out").exists()


def test_stdin_and_stdout_cannot_be_gone_on_with(bundle) -> None:
    with pytest.raises(InputError, match="--resume cannot read stdin"):
        extract(job(bundle, places=("-",), resume=True))
    write("notes.jsonl", NOTES)
    with pytest.raises(InputError, match="--resume needs -o"):
        extract(job(bundle, out=None, resume=True))


BAD = b'{"id": "bad", "text": 7}\n\xff\n{"id": "n1", "text": "twice"}\n'


def test_a_bad_note_stops_the_work_before_it_begins(bundle) -> None:
    write("notes.jsonl", NOTES)
    with Path("notes.jsonl").open("ab") as stream:
        stream.write(BAD)
    with pytest.raises(InputError, match=r"notes\.jsonl:8: 'text' must be a string"):
        extract(job(bundle))
    assert sorted(files()) == ["notes.jsonl"]


def test_the_supervisor_does_not_keep_the_bundle(bundle) -> None:
    """It is the workers' to hold: the default one's files are 23 MB."""

    def n_held() -> int:
        return sum(type(held) is Bundle for held in gc.get_objects())

    gc.collect()
    before, during = n_held(), []
    write("notes.jsonl", NOTES)
    extract(job(bundle, workers=1), tell=lambda _: during.append(n_held()))
    assert set(during) == {before}


@pytest.mark.parametrize("workers", [0, 1])
def test_with_a_quarantine_bad_notes_are_set_aside(bundle, workers: int) -> None:
    write("notes.jsonl", NOTES)
    extract(job(bundle, out=Path("good")))
    with Path("notes.jsonl").open("ab") as stream:
        stream.write(BAD)
    tally = extract(job(bundle, quarantine=Path("aside/q.jsonl"), workers=workers))
    assert (tally.notes, tally.aside) == (7, 3)
    assert Path("out").read_bytes() == Path("good").read_bytes()
    assert [json.loads(line) for line in Path("aside/q.jsonl").read_text().splitlines()] == [
        {"id": "bad", "where": "notes.jsonl:8", "reason": "not-a-note"},
        {"id": None, "where": "notes.jsonl:9", "reason": "not-utf8"},
        {"id": "n1", "where": "notes.jsonl:10", "reason": "duplicate-id"},
    ]


def test_notes_that_break_a_worker_are_in_the_quarantine_after_a_resume_too(
    bundle, monkeypatch, caplog
) -> None:
    write("notes.jsonl", {**NOTES, "n1": f"{SECRET} RAISE", "n5": f"{SECRET} SEGV"})
    monkeypatch.setattr(spawning, "COMMAND", FAULTY)
    stop_after(2, job(bundle, workers=1))
    assert SECRET.encode() not in Path("out.journal").read_bytes()
    tally = extract(job(bundle, workers=1, resume=True))
    assert (tally.notes, tally.aside) == (7, 2)
    aside = Path("out.quarantine.jsonl").read_text()
    assert SECRET not in aside
    assert [json.loads(line) for line in aside.splitlines()] == [
        {"id": "n1", "reason": "failed"},
        {"id": "n5", "reason": "crash"},
    ]
    ids = [json.loads(line)["id"] for line in Path("out").read_text().splitlines()]
    assert ids == ["n0", "n2", "n3", "n4", "n6"]
    assert SECRET not in caplog.text
    monkeypatch.undo()


def test_a_quarantine_of_an_earlier_run_does_not_stay(bundle) -> None:
    write("notes.jsonl", NOTES)
    Path("out.quarantine.jsonl").write_text("old")
    extract(job(bundle))
    assert sorted(files()) == ["notes.jsonl", "out"]


def test_a_quarantine_that_was_asked_for_is_there_though_empty(bundle) -> None:
    write("notes.jsonl", NOTES)
    extract(job(bundle, quarantine=Path("q")))
    assert Path("q").read_bytes() == b""


@pytest.mark.parametrize("quarantine", ["notes.jsonl", "out", "out.partial", "out.journal"])
def test_a_quarantine_overwrites_nothing(bundle, quarantine: str) -> None:
    write("notes.jsonl", NOTES)
    before = files()
    with pytest.raises(InputError):
        extract(job(bundle, quarantine=Path(quarantine)))
    assert files() == before


def test_notes_a_form_cannot_hold_are_known_before_the_work(bundle) -> None:
    write("notes.jsonl", {**NOTES, "last": "\ufeffx"})
    with pytest.raises(InputError, match="byte-order mark"):
        extract(job(bundle, fmt="brat"))
    with pytest.raises(InputError, match="'n0'"):
        extract(job(bundle, fmt="omop"))
    assert sorted(files()) == ["notes.jsonl"]


def test_notes_are_cut_into_chunks_by_length_and_number(monkeypatch) -> None:
    monkeypatch.setattr(extract_module, "CHUNK_NOTES", 50)
    sizes = [5_000] * 30 + [0] * 120 + [2 * CHUNK_CHARS] + [1000] * 60
    notes = [Note(str(i), "x" * size) for i, size in enumerate(sizes)]
    cut = list(chunks(notes))
    assert [note for chunk in cut for note in chunk] == notes
    assert all(len(chunk) <= 50 for chunk in cut)
    chars = [sum(len(note.text) for note in chunk) for chunk in cut]
    assert all(n <= CHUNK_CHARS or len(chunk) == 1 for n, chunk in zip(chars, cut, strict=True))
    assert chars[:3] == [5_000, 5_000, 15_000]  # a note is never cut
    assert len(cut) < 12


def test_a_note_too_long_is_one_that_cannot_be_read(bundle) -> None:
    write("notes.jsonl", {"a": "x" * 30, "b": "fever"})
    short = NoteFormat(max_chars=20)
    tally = extract(job(bundle, note_format=short, quarantine=Path("q")))
    assert (tally.notes, tally.aside) == (1, 1)
