"""Replies on disk: private, in order, and there after kill -9."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clin_edge.core.errors import InputError
from clin_edge.distill.teachers.llm.replies import FILE, Attempt, ReplyStore
from clin_edge.distill.teachers.llm.usage import Usage

SECRET = "Mrs Quillfeather took zanubrutinib"
USED = Usage(input=7, cached=3, output=5, reasoning=1)
KEY = ReplyStore.key({"model": "toy", "text": SECRET})
posix = pytest.mark.skipif(os.name != "posix", reason="modes and limits are those of POSIX")


def attempt(text: str = SECRET, verdict: str = "") -> Attempt:
    return Attempt(text, "stop", "toy-1", USED, verdict)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_attempts_come_back_in_order_and_for_their_key_alone(folder: Path) -> None:
    broken, good, other = attempt("{", "truncated"), attempt("{}"), attempt("[]")
    with ReplyStore(folder) as store:
        assert store.get(KEY) == ()
        assert store._db.execute("PRAGMA synchronous").fetchone() == (
            2,
        )  # FULL: outlives the power
        store.add(KEY, broken)
        store.add("other", other)
        store.add(KEY, good)
        assert store.get(KEY) == (broken, good)
    with ReplyStore(folder) as store:
        assert store.get(KEY) == (broken, good)
        assert store.get("other") == (other,)


ANY = st.text()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplyStore]:
    with ReplyStore(tmp_path_factory.mktemp("any") / "cache") as opened:
        yield opened


@given(st.tuples(ANY, ANY, ANY, ANY))
@example(("\ud800", "a\udfff", "\ud83d\ude00", "\x00"))  # models do write halves of surrogate pairs
def test_any_string_comes_back_as_it_was(store: ReplyStore, words: tuple[str, ...]) -> None:
    text, finish, model, verdict = words
    saved = Attempt(text, finish, model, USED, verdict)
    store.add("k", saved)
    assert store.get("k")[-1] == saved


def test_ten_megabytes_come_back(folder: Path) -> None:
    with ReplyStore(folder) as store:
        store.add(KEY, attempt("é" * 5_000_000))
        assert store.get(KEY)[0].text == "é" * 5_000_000


def test_a_key_depends_on_every_part_and_not_on_their_order() -> None:
    parts = {"model": "toy", "messages": [{"role": "user", "content": "x"}], "seed": None}
    assert ReplyStore.key(parts) == ReplyStore.key(dict(reversed(parts.items())))
    # Written out once, so that a new version finds what an old one paid for.
    assert (
        ReplyStore.key({"b": [1, 2.5, None], "a": "é\ud800"})
        == "5d040a17ff924288299a31d62f9eba6e160821aaf4229243eb7d45d4d01ff041"
    )
    keys = {ReplyStore.key({**parts, name: "other"}) for name in (*parts, "new")}
    assert len(keys | {ReplyStore.key(parts)}) == 5
    with pytest.raises(ValueError, match="JSON"):
        ReplyStore.key({"x": float("nan")})


def test_nothing_shows_a_reply() -> None:
    assert SECRET not in repr(attempt())


@pytest.mark.parametrize("bad", [{"cached": 8, "input": 7}, {"reasoning": 1}, {"input": -1}])
def test_usage_that_cannot_be_is_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="needs 0 <="):
        Usage(**bad)
    assert (USED + USED, USED.total) == (Usage(14, 6, 10, 2), 12)


def in_threads(work: Callable[[int], None], n: int = 8) -> None:
    """Run it in threads that start together, and raise what any of them raised."""
    with ThreadPoolExecutor(n) as pool:
        together = threading.Barrier(n)
        list(pool.map(lambda i: (together.wait(10), work(i)), range(n)))


def test_many_threads_share_a_store(folder: Path) -> None:
    with ReplyStore(folder) as store:

        def work(name: int) -> None:
            for i in range(10):
                store.add(str(name), attempt(str(i)))
                store.add("all", attempt(f"{name}.{i}"))

        in_threads(work)
        for name in range(8):
            assert [a.text for a in store.get(str(name))] == [str(i) for i in range(10)]
        assert len({a.text for a in store.get("all")}) == 80


def test_many_may_make_the_same_folder_at_once(folder: Path) -> None:
    def work(_: int) -> None:
        with ReplyStore(place) as store:
            store.add(KEY, attempt())

    for turn in range(6):
        place = folder / str(turn)
        in_threads(work)
        with ReplyStore(place) as store:
            assert len(store.get(KEY)) == 8


# --- other processes -----------------------------------------------------------------------------

# Forks a writer for every line of its input, since starting Python takes longer than writing.
WRITERS = """
    import os, sys
    from pathlib import Path
    from clin_edge.distill.teachers.llm.replies import Attempt, ReplyStore
    from clin_edge.distill.teachers.llm.usage import Usage

    def write(folder, key, first, last, size):
        with ReplyStore(Path(folder)) as store:
            for n in range(int(first), int(last)):
                store.add(key, Attempt(f"{n} " + "x" * int(size), "stop", "toy", Usage(1, 0, 1)))
                # One system call: print makes two under PYTHONUNBUFFERED, with room for a kill.
                os.write(1, b"%d\\n" % n)

    for line in sys.stdin:
        if not os.fork():
            print(os.getpid(), flush=True)
            write(sys.argv[1], *line.split())
            os._exit(0)
        os.wait()
        print("end", flush=True)
"""


def start_writers(folder: Path, *, before: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", before + textwrap.dedent(WRITERS), str(folder)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def numbers(folder: Path, key: str = KEY) -> list[int]:
    with ReplyStore(folder) as store:
        return [int(a.text.split()[0]) for a in store.get(key)]


@posix
def test_kill_9_loses_nothing_that_add_returned_from(folder: Path) -> None:
    rng = random.Random(20)
    done: list[int] = []
    with start_writers(folder) as writers:
        for _ in range(24):
            size = rng.choice([10, 5_000, 60_000])
            print(KEY, len(done), 10**9, size, file=writers.stdin, flush=True)
            pid = int(writers.stdout.readline())
            said = [int(writers.stdout.readline()) for _ in range(rng.randrange(12))]
            # A little way into the next one, or into the opening: spinning is no sleep.
            for _ in range(rng.randrange(200_000)):
                pass
            os.kill(pid, signal.SIGKILL)
            said += [int(line) for line in iter(writers.stdout.readline, "end\n")]
            found = numbers(folder)
            assert said == list(range(len(done), len(done) + len(said)))
            # One more at most: on disk before the kill, but not yet told.
            assert len(done) + len(said) <= len(found) <= len(done) + len(said) + 1
            assert found == list(range(len(found)))
            done = found
        writers.stdin.close()
        assert writers.stderr.read() == ""
    assert len(done) >= 24


@posix
def test_processes_write_at_once(folder: Path) -> None:
    processes = [start_writers(folder) for _ in range(3)]
    for i, process in enumerate(processes):
        print(f"k{i} 0 40 2000", file=process.stdin, flush=True)
    for process in processes:
        with process:
            assert process.communicate()[1] == ""
    for i in range(3):
        assert numbers(folder, f"k{i}") == list(range(40))


@posix
def test_a_full_disk_is_one_line_and_loses_nothing(folder: Path) -> None:
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
    with start_writers(folder, before=limit) as writers:
        output, errors = writers.communicate(f"{KEY} 0 99 9000\n")
    said = [int(word) for word in output.split()[1:-1]]
    assert 5 < len(said) < 99
    error = next(line for line in errors.splitlines() if "InputError: " in line)
    assert "make room" in error
    assert "xxxx" not in errors
    assert numbers(folder) == said
    with ReplyStore(folder) as store:
        store.add(KEY, attempt("99"))


# --- the folder ----------------------------------------------------------------------------------


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@posix
def test_nobody_else_can_read(folder: Path) -> None:
    old = os.umask(0)
    try:
        with ReplyStore(folder) as store:
            store.add(KEY, attempt())
            files = {path.name: mode(path) for path in folder.iterdir()}
    finally:
        os.umask(old)
    assert mode(folder) == 0o700
    assert set(files) == {FILE, f"{FILE}-wal", f"{FILE}-shm"}
    assert set(files.values()) == {0o600}
    folder.chmod(0o755)
    (folder / FILE).chmod(0o644)
    ReplyStore(folder).close()
    assert (mode(folder), mode(folder / FILE)) == (0o700, 0o600)


@posix
def test_an_open_folder_with_other_things_is_left_alone(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    (folder / "thesis.tex").touch()
    with pytest.raises(InputError, match="holds other files"):
        ReplyStore(folder)
    assert mode(folder) == 0o755
    assert [path.name for path in folder.iterdir()] == ["thesis.tex"]


@posix
def test_a_folder_of_somebody_else_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(InputError, match="belongs to another user"):
        ReplyStore(folder)


def test_a_file_in_the_way_is_one_line(folder: Path) -> None:
    folder.touch()
    with pytest.raises(InputError, match="cannot be made"):
        ReplyStore(folder)


def sqlite_file(path: Path, *statements: str) -> None:
    database = sqlite3.connect(path)
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()


def refuse(folder: Path, words: str) -> None:
    with pytest.raises(InputError) as caught, ReplyStore(folder) as store:
        store.get(KEY)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_foreign_file_is_refused_and_left_alone(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    for raw in (b"not a database, not at all", b"PK\x03\x04" * 2_000):
        (folder / FILE).write_bytes(raw)
        refuse(folder, "it holds patient text")
        assert (folder / FILE).read_bytes() == raw
    (folder / FILE).unlink()
    sqlite_file(folder / FILE, "CREATE TABLE urls (id INTEGER)")
    before = (folder / FILE).read_bytes()
    refuse(folder, "not made by clin-edge")
    assert (folder / FILE).read_bytes() == before


def test_another_schema_is_refused(folder: Path) -> None:
    ReplyStore(folder).close()
    sqlite_file(folder / FILE, "PRAGMA user_version = 2")
    refuse(folder, "another version of clin-edge")


@pytest.mark.parametrize(
    "damage",
    [
        "DROP TABLE attempt",
        "UPDATE attempt SET text = 7",
        "UPDATE attempt SET input = -1",
        "UPDATE attempt SET cached = 'many'",
        "UPDATE attempt SET text = x'ff'",
    ],
)
def test_damaged_rows_are_refused(folder: Path, damage: str) -> None:
    with ReplyStore(folder) as store:
        store.add(KEY, attempt())
    sqlite_file(folder / FILE, damage)
    refuse(folder, "damaged")


def test_a_torn_file_is_refused(folder: Path) -> None:
    with ReplyStore(folder) as store:
        for _ in range(50):
            store.add(KEY, attempt(SECRET * 50))
    raw = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(raw[: len(raw) // 2])
    refuse(folder, "damaged")
    (folder / FILE).write_bytes(raw[:4096] + b"\x5a" * (len(raw) - 4096))
    refuse(folder, "damaged")
