"""Workers under watch: a bad note is set aside, all others are read, in order, as ever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from clin_edge.core.errors import BundleError, ClinEdgeError, CoverageError
from clin_edge.core.notes import Note
from clin_edge.runtime import crew as crew_module
from clin_edge.runtime import frames, spawning
from clin_edge.runtime.crew import Alone, Crew, Limits
from clin_edge.runtime.frames import Order
from clin_edge.runtime.worker import NotesReader
from toy import toy_bundle

FAULTY = (sys.executable, "-P", str(Path(__file__).parents[1] / "faulty_worker.py"))
LIMITS = Limits(note_timeout_s=3, memory_bytes=700_000_000)
SECRET = "Zebulon"


@pytest.fixture(scope="module")
def order(tmp_path_factory: pytest.TempPathFactory) -> Order:
    bundle = toy_bundle(tmp_path_factory.mktemp("crew") / "bundle", "openvino")
    return Order(str(bundle.path), bundle.manifest_sha256, context=False)


def good(n: int) -> list[Note]:
    return [Note(f"n{i}", f"{SECRET} takes metformin for chest pain, day {i}") for i in range(n)]


def spoilt(n: int, **poison: str) -> list[Note]:
    """Good notes, some of which hold a poison; ``n3="HANG"``."""
    return [Note(note.id, f"{note.text} {poison.get(note.id, '')}") for note in good(n)]


def read(order, chunks, *, workers: int = 1, limits: Limits = LIMITS):
    crew = Crew(order, workers=workers, limits=limits)
    try:
        done = list(crew.read(chunks))
    finally:
        crew.stop()
    lines = b"".join(one.lines for one in done).decode().splitlines()
    aside = [pair for one in done for pair in one.aside]
    return [json.loads(line) for line in lines], aside, done


@pytest.fixture
def faulty(monkeypatch) -> None:
    monkeypatch.setattr(spawning, "COMMAND", FAULTY)


def alone(order, notes: list[Note]) -> list[dict]:
    (done,) = Alone(order).read([notes])
    return [json.loads(line) for line in done.lines.splitlines()]


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_give_what_one_process_gives_in_order(order, workers: int) -> None:
    notes = good(40)
    records, aside, done = read(order, [notes[:1], notes[1:7], notes[7:]], workers=workers)
    assert records == alone(order, notes)
    assert aside == []
    assert [(one.notes, one.words) for one in done] == [(1, 8), (6, 48), (33, 264)]
    assert sum(one.entities for one in done) == sum(len(r["entities"]) for r in records) > 0


@pytest.mark.parametrize(("n_chunks", "expected"), [(0, 1), (2, 1), (12, 3)])
def test_workers_come_when_there_is_enough_to_do(order, n_chunks: int, expected: int) -> None:
    crew = Crew(order, workers=3, limits=LIMITS)
    done = list(crew.read([note] for note in good(n_chunks)))
    assert (len(done), len(crew._workers)) == (n_chunks, expected)
    crew.stop()
    assert all(worker.process.poll() is not None for worker in crew._workers)


def test_the_first_worker_may_have_been_started_before(order) -> None:
    with spawning.spawned() as process:
        if sys.platform != "win32":  # or Ctrl-C would end it, with a traceback
            assert os.getpgid(process.pid) == process.pid
        crew = Crew(order, workers=1, limits=LIMITS, first=process)
        assert [one.notes for one in crew.read([good(3)])] == [3]
        assert [worker.process for worker in crew._workers] == [process]
        assert process.poll() is None
    assert process.poll() is not None
    crew.stop()


POISONS = [
    ("HANG", "time"),
    ("GREEDY", "memory"),
    ("SEGV", "crash"),
    ("QUIT", "crash"),
    ("RAISE", "failed"),
]


@pytest.mark.usefixtures("faulty")
@pytest.mark.parametrize(("poison", "reason"), POISONS)
def test_a_bad_note_is_set_aside_and_the_others_are_read(order, poison, reason, capfd) -> None:
    chunks = [spoilt(9, n4=poison), [Note("m", "metformin")]]
    limits = LIMITS if reason == "time" else Limits(60, LIMITS.memory_bytes)
    records, aside, done = read(order, chunks, limits=limits)
    assert aside == [("n4", reason)]
    assert records == [r for r in alone(order, [*chunks[0], *chunks[1]]) if r["id"] != "n4"]
    assert [one.notes for one in done] == [9, 1]
    assert SECRET not in "".join(capfd.readouterr())


@pytest.mark.usefixtures("faulty")
def test_a_bad_note_that_nobody_can_point_at_is_found_by_halves(order) -> None:
    notes = spoilt(9, n2="LATE-SEGV", n7="LATE-RAISE")
    records, aside, _ = read(order, [notes], workers=2)
    assert sorted(aside) == [("n2", "crash"), ("n7", "failed")]
    assert records == [r for r in alone(order, notes) if r["id"] not in ("n2", "n7")]


@pytest.mark.usefixtures("faulty")
def test_a_note_that_is_wrongly_suspected_is_read(order) -> None:
    """A process can die of one note's batch while it encodes another note."""
    notes = spoilt(9, n2="NEXT-QUIT", n8="NEXT-SEGV")
    records, aside, _ = read(order, [notes], workers=2)
    assert sorted(aside) == [("n2", "crash"), ("n8", "crash")]
    assert records == [r for r in alone(order, notes) if r["id"] not in ("n2", "n8")]


@pytest.mark.usefixtures("faulty")
@pytest.mark.parametrize("poison", ["SEGV", "RAISE", "LATE-QUIT", "LATE-RAISE", "NEXT-SEGV"])
@pytest.mark.parametrize("workers", [1, 2])
def test_of_several_chunks_that_a_worker_has_only_the_bad_notes_are_lost(
    order, poison: str, workers: int
) -> None:
    notes = spoilt(16, n3=poison, n13=poison)
    chunks = [notes[i : i + 2] for i in range(0, 16, 2)]
    records, aside, done = read(order, chunks, workers=workers)
    assert [note_id for note_id, _ in aside] == ["n3", "n13"]
    assert records == [r for r in alone(order, notes) if r["id"] not in ("n3", "n13")]
    assert [one.notes for one in done] == [2] * 8


def test_pieces_are_read_as_one_stream(order) -> None:
    """A worker does not come to rest between them."""
    begun: list[int] = []

    def pieces() -> Iterator[list[Note]]:
        for i in range(3):
            begun.append(i)
            yield good(2 + i)

    beats: list[bytes] = []
    reader = NotesReader(order, beat=beats.append)
    reading = reader.read(pieces())
    tally, lines = next(reading)
    assert begun == [0, 1, 2]
    assert (tally["words"], lines.count(b"\n")) == (16, 2)
    assert [lines.count(b"\n") for _, lines in reading] == [3, 4]
    assert list(map(frames.unpack_place, filter(None, beats))) == [
        (piece, place) for piece in range(3) for place in range(2 + piece)
    ]


@pytest.mark.usefixtures("faulty")
@pytest.mark.parametrize("poison", ["SEGV", "RAISE"])
def test_where_every_note_fails_the_run_fails(order, poison: str, monkeypatch) -> None:
    monkeypatch.setattr(crew_module, "_HOPELESS", 3)
    notes = [Note(str(i), poison) for i in range(40)]
    with pytest.raises(ClinEdgeError, match="the first 3 notes could not be read"):
        read(order, [notes], workers=2)


def test_a_long_note_has_longer() -> None:
    limits = Limits(10, 1)
    assert [limits.seconds(Note("n", "x" * n)) for n in (0, 100_000, 100_001)] == [10, 10, 20]


def test_a_failure_of_the_input_comes_after_what_came_before_it(order) -> None:
    def chunks() -> Iterator[list[Note]]:
        yield good(3)
        raise ValueError("the input")

    crew = Crew(order, workers=2, limits=LIMITS)
    reading = crew.read(chunks())
    assert next(reading).notes == 3
    with pytest.raises(ValueError, match="the input"):
        next(reading)
    crew.stop()


def test_a_bundle_that_changes_after_it_was_opened_is_refused(order) -> None:
    crew = Crew(replace(order, manifest_sha256="0" * 64), workers=1, limits=LIMITS)
    with pytest.raises(BundleError, match="was changed while it was in use"):
        crew.loaded()
    crew.stop()


def test_workers_that_die_at_once_are_not_tried_for_ever(order, monkeypatch) -> None:
    monkeypatch.setattr(spawning, "COMMAND", (sys.executable, "-c", "import os; os._exit(3)"))
    crew = Crew(order, workers=2, limits=LIMITS)
    with pytest.raises(ClinEdgeError, match="worker processes die before they can work"):
        crew.loaded()
    crew.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="told by /proc")
def test_a_worker_shows_and_leaves_no_text(order) -> None:
    """Not in its title or environment, and not in a core file if it crashes."""
    crew = Crew(order, workers=1, limits=LIMITS)
    list(crew.read([good(1)]))
    (process,) = (Path(f"/proc/{worker.process.pid}") for worker in crew._workers)
    assert SECRET.encode() not in (process / "cmdline").read_bytes()
    assert SECRET.encode() not in (process / "environ").read_bytes()
    assert int((process / "coredump_filter").read_text(), 16) == 0
    assert "Max core file size        0 " in (process / "limits").read_text()
    crew.stop()


def test_a_worker_that_never_loads_is_not_waited_for_for_ever(order, monkeypatch) -> None:
    sleeper = (sys.executable, "-c", "import time; time.sleep(3600)")
    monkeypatch.setattr(spawning, "COMMAND", sleeper)
    monkeypatch.setattr(crew_module, "_LOAD_S", 0.3)
    crew = Crew(order, workers=1, limits=LIMITS)
    with pytest.raises(ClinEdgeError, match=r"die before they can work \(time\)"):
        crew.loaded()
    crew.stop()


BROKEN_WINDOWS = """
from clin_edge.core import windows
from clin_edge.runtime import worker
plan = windows.plan_windows
def short(n_tokens, **options):
    return plan(max(n_tokens - 1, 0), **options)
windows.plan_windows = short
worker.main()
"""


def test_broken_windows_fail_the_run_and_not_the_note(order, monkeypatch) -> None:
    """That a character was not read is a defect of ours: no note is set aside for it."""
    monkeypatch.setattr(spawning, "COMMAND", (sys.executable, "-P", "-c", BROKEN_WINDOWS))
    with pytest.raises(CoverageError, match="characters were read"):
        read(order, [good(3)])


ORPHAN = """
import json, os, sys, time
from clin_edge.core.notes import Note
from clin_edge.runtime import crew, spawning
from clin_edge.runtime.frames import Order
spawning.COMMAND = tuple(json.loads(sys.argv[2]))
one = crew.Crew(Order.from_json(sys.argv[1]), workers=2, limits=crew.Limits(60, 10**10))
def chunks():
    for n in range(4):
        yield [Note(str(n), "HANG")]
    while len(one._workers) < 2:
        time.sleep(0.01)
    print(*(w.process.pid for w in one._workers), flush=True)
    sys.stdin.read()
next(one.read(chunks()))
"""


def test_workers_leave_when_their_supervisor_is_killed(order) -> None:
    """Even in the middle of a note that has no end."""
    command = [sys.executable, "-c", ORPHAN, order.to_json().decode(), json.dumps(FAULTY)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.kill()
    deadline = time.monotonic() + 20
    while any(_lives(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
