"""Durable outputs: whatever ends a run, the next one ends with the bytes of an unbroken one."""

from __future__ import annotations

import errno
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from clin_edge.core.errors import InputError
from clin_edge.runtime import durable
from clin_edge.runtime.disk import Disk
from clin_edge.runtime.durable import DurableOutput, terms_of
from clin_edge.runtime.outputs import Done
from lossy_disk import FailingDisk, LossyDisk, PowerCut

TERMS = {"bundle": "b1", "input": "i1", "set of options": ["jsonl", True, 0.0]}
HEADER = b"id,label\n"
CHUNKS = [b"a,1\nb,2\n", b"", b"c," + b"3" * 5000 + b"\n", b"d,4\n"]
ASIDE = [(), (("x", "time"),), (), (("y", "memory"), ("z", "crash"))]
WHOLE = HEADER + b"".join(CHUNKS)

Make = Callable[[Path, Path], None]


def make_file(spool: Path, place: Path) -> None:
    place.write_bytes(spool.read_bytes().upper())


def make_folder(spool: Path, place: Path) -> None:
    (place / "in").mkdir(parents=True)
    for i, line in enumerate(spool.read_bytes().splitlines()):
        (place / "in" / f"{i}.txt").write_bytes(line)


FORMS: dict[str, Make | None] = {"lines": None, "file": make_file, "folder": make_folder}


def run(out: Path, make: Make | None = None, *, resume: bool = True, disk: Disk | None = None):
    """Do what extract does: go on after the notes that are safe. Each chunk is one note."""
    with DurableOutput(out, TERMS, resume=resume, header=HEADER, disk=disk) as output:
        if not output.finished:
            for lines, aside in list(zip(CHUNKS, ASIDE, strict=True))[output.notes :]:
                output.add(Done(lines, 1, 2, 3, aside))
        assert output.aside == list(itertools.chain(*ASIDE))
        assert (output.notes, output.words, output.entities) == (4, 8, 12)
        output.finish(make)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(params=FORMS)
def make(request) -> Make | None:
    return FORMS[request.param]


@pytest.fixture
def expected(make, tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("unbroken")
    run(folder / "out", make)
    return contents(folder)


def test_an_output_is_its_header_and_its_chunks(tmp_path: Path) -> None:
    run(tmp_path / "new" / "out")
    assert contents(tmp_path) == {"new/out": WHOLE}


@pytest.mark.parametrize("seed", range(3))
def test_power_is_cut_at_every_step(tmp_path, make, expected, seed) -> None:
    random = Random(seed)
    for last in itertools.count():
        folder = tmp_path / f"{last}"
        folder.mkdir()
        disk = LossyDisk(folder, last=last)
        try:
            run(folder / "out", make, disk=disk)
        except PowerCut:
            disk.lose(random)
        else:
            break
        run(folder / "out", make)
        assert contents(folder) == expected, last
    assert last > 30


@pytest.mark.parametrize("seed", range(8))
def test_power_is_cut_again_and_again(tmp_path, make, expected, seed) -> None:
    random = Random(seed)
    n_cuts = 0
    while True:
        disk = LossyDisk(tmp_path, last=random.randrange(12, 60))
        try:
            run(tmp_path / "out", make, disk=disk)
            break
        except PowerCut:
            n_cuts += 1
            disk.lose(random)
    assert contents(tmp_path) == expected
    assert n_cuts or seed


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_disk_that_fails_at_any_step_is_one_line_and_loses_nothing(
    tmp_path, make, expected, error
) -> None:
    for last in itertools.count():
        out = tmp_path / f"{last}" / "out"
        try:
            run(out, make, disk=FailingDisk(last=last, error=error))
        except InputError as caught:
            said = str(caught)
        else:
            break
        assert said == f"{out}: cannot be written ({os.strerror(error)})"
        assert not out.is_file() or contents(out.parent)["out"] == expected.get("out")
        run(out, make)
        assert contents(out.parent) == expected, last
    assert last > 15


def test_a_short_write_is_gone_on_with(tmp_path: Path, monkeypatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data)[:7]))
    run(tmp_path / "out")
    monkeypatch.undo()
    assert (tmp_path / "out").read_bytes() == WHOLE


FILLED = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_durable import run
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # only now: no import may leave half a file behind
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
run(Path(sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on a file's size")
def test_a_file_that_may_grow_no_further_keeps_what_fits(tmp_path: Path) -> None:
    """Not a simulation: the system takes part of a write and refuses the rest."""
    out = tmp_path / "out"
    here = str(Path(__file__).parent)
    command = [sys.executable, "-B", "-c", FILLED, str(out), here]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(here).parent), *sys.path])}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert "InputError" in done.stderr
    assert "File too large" in done.stderr
    assert len((tmp_path / "out.partial").read_bytes()) == 4000
    run(out)
    assert contents(tmp_path) == {"out": WHOLE}


def stop_after(out: Path, n_chunks: int, terms: dict = TERMS) -> None:
    with DurableOutput(out, terms, resume=False, header=HEADER) as output:
        for lines in CHUNKS[:n_chunks]:
            output.add(Done(lines, 1, 2, 3))


@pytest.mark.parametrize("key", TERMS)
def test_other_terms_are_refused_and_nothing_is_lost(tmp_path: Path, key: str) -> None:
    out = tmp_path / "out"
    stop_after(out, 2)
    before = contents(tmp_path)
    with pytest.raises(InputError, match=f"begun with another {key}; run the same command"):
        DurableOutput(out, {**TERMS, key: "other"}, resume=True, header=HEADER)
    assert contents(tmp_path) == before


def test_without_resume_it_is_begun_anew_and_said_so(tmp_path: Path, monkeypatch) -> None:
    out = tmp_path / "out"
    stop_after(out, 2)
    said: list[str] = []
    monkeypatch.setattr(durable.log, "warning", lambda text, *args: said.append(text % args))
    run(out, resume=False)
    (line,) = said
    assert "begun anew; 2 notes of a run that was stopped are dropped" in line
    assert contents(tmp_path) == {"out": WHOLE}


@pytest.mark.parametrize("place", [0, 4, len(HEADER) + 3, len(HEADER) + 9, -1])
def test_a_spool_that_was_altered_is_trusted_up_to_there(tmp_path: Path, place: int) -> None:
    out, spool = tmp_path / "out", tmp_path / "out.partial"
    stop_after(out, 4)
    raw = bytearray(spool.read_bytes())
    raw[place] ^= 1
    spool.write_bytes(raw)
    with DurableOutput(out, TERMS, resume=True, header=HEADER) as output:
        assert output.notes == (0 if -1 < place < len(HEADER) + 8 else 2 if place > 0 else 3)
        for lines in CHUNKS[output.notes :]:
            output.add(Done(lines, 1, 2, 3))
        output.finish()
    assert out.read_bytes() == WHOLE


@pytest.mark.parametrize("garbage", [b"", b"\0" * 40, b"00000000 {}\n", b"\xff\n" * 3, b"{"])
def test_a_journal_that_is_none_is_begun_anew(tmp_path: Path, garbage: bytes) -> None:
    out = tmp_path / "out"
    stop_after(out, 2)
    (tmp_path / "out.journal").write_bytes(garbage)
    assert terms_of(out) is None
    run_fresh = DurableOutput(out, TERMS, resume=True, header=HEADER)
    with run_fresh as output:
        assert output.notes == 0


def test_two_runs_do_not_write_one_output(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with DurableOutput(out, TERMS, resume=True, header=HEADER) as output:
        output.add(Done(CHUNKS[0], 1, 2, 3))
        with pytest.raises(InputError, match="another run is writing it"):
            DurableOutput(out, TERMS, resume=True, header=HEADER)
        output.add(Done(CHUNKS[1], 1, 2, 3))
    with DurableOutput(out, TERMS, resume=True, header=HEADER) as output:
        assert output.notes == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_what_is_unfinished_is_its_owners_and_what_is_finished_as_any_file(tmp_path: Path) -> None:
    stop_after(tmp_path / "out", 1)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"out.partial": 0o600, "out.journal": 0o600}
    run(tmp_path / "out")
    (tmp_path / "other").write_bytes(b"")
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_folder_of_someone_elses_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "in").mkdir(parents=True)
    (out / "in" / "0.txt").write_bytes(b"precious")
    with pytest.raises(InputError, match="exists and is not empty"):
        run(out, make_folder)
    assert (out / "in" / "0.txt").read_bytes() == b"precious"
    (out / "in" / "0.txt").unlink()
    (out / "in").rmdir()
    run(out, make_folder)
    assert len(contents(out)) == 5


def test_a_journal_holds_no_note(tmp_path: Path) -> None:
    stop_after(tmp_path / "out", 4)
    assert b"3333" not in (tmp_path / "out.journal").read_bytes()
