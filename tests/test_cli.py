"""The commands as a hospital's scripts meet them: exit codes, streams, files, one-line messages."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from clin_edge.cli import clin_edge, main
from clin_edge.core.labelled import read_labelled
from clin_edge.core.notes import Note
from clin_edge.runtime import Pipeline, pipeline
from toy import toy_bundle

SECRET = "Zebulon"  # stands for what no message may repeat
FULL = Path("/dev/full")
NOTES = {
    "a": "Zebulon takes Metformin for diabetes.",
    "b": "",
    "ward/c": "chest\r\npain, no fever 🙂\r\n" * 7,
    "z": "no pain",
}


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict]:
        """Stdout, which must be JSONL and nothing else."""
        *lines, last = self.out.split("\n")
        assert last == ""
        return [json.loads(line) for line in lines]


Run = Callable[..., Done]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy bundle for both engines."""
    folder = tmp_path_factory.mktemp("cli") / "bundle"
    return toy_bundle(folder, "openvino", "onnxruntime").path


@pytest.fixture
def run(monkeypatch, capsys, tmp_path: Path, bundle: Path) -> Run:
    """A function that runs ``clin-edge`` in this process, in an empty folder."""
    monkeypatch.setattr(logging.root, "handlers", [])  # main sets up its own
    monkeypatch.setenv("CLIN_EDGE_BUNDLE", str(bundle))
    monkeypatch.setenv("CLIN_EDGE_THREADS", "1")
    monkeypatch.delenv("CLIN_EDGE_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*args: object, stdin: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="ascii"))
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(arg) for arg in args])
        return Done(int(left.value.code or 0), *capsys.readouterr())

    return run


def as_jsonl(notes: dict[str, str]) -> bytes:
    lines = [json.dumps({"id": note_id, "text": text}) + "\n" for note_id, text in notes.items()]
    return "".join(lines).encode()


def as_folder(place: Path, notes: dict[str, str] = NOTES) -> Path:
    for note_id, text in notes.items():
        path = place / f"{note_id}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return place


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The notes as a folder of text files."""
    return as_folder(tmp_path / "notes")


@pytest.fixture
def jsonl(tmp_path: Path) -> Path:
    """The notes as one file."""
    (tmp_path / "notes.jsonl").write_bytes(as_jsonl(NOTES))
    return tmp_path / "notes.jsonl"


@pytest.fixture
def expected(bundle: Path) -> str:
    """What must come out for the notes: the library's records."""
    read = Pipeline.from_bundle(bundle, threads=1)
    notes = [Note(note_id, text) for note_id, text in NOTES.items()]
    return "".join(record.to_json() + "\n" for record in read.records(notes))


def only_line(done: Done) -> str:
    """The one line that a failed command says."""
    assert done.out == ""
    assert done.err.endswith("\n")
    (line,) = done.err.removesuffix("\n").split("\n")
    assert SECRET not in line
    assert line.startswith("clin-edge: ")
    return line.removeprefix("clin-edge: ")


def below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# --- extract: what goes in and comes out ---------------------------------------------------------


def test_records_come_out_whatever_way_the_notes_come_in(run, tmp_path, folder, jsonl, expected):
    packed = tmp_path / "notes.jsonl.gz"
    packed.write_bytes(gzip.compress(jsonl.read_bytes()))
    done = [run("extract", folder), run("extract", jsonl), run("extract", packed)]
    done.append(run("extract", "-", stdin=jsonl.read_bytes()))
    assert [d.code for d in done] == [0] * 4
    assert {d.out for d in done} == {expected}


def test_tables_may_name_their_columns(run: Run, tmp_path: Path) -> None:
    (tmp_path / "n.tsv").write_text("report\tkey\nno fever\t7\n")
    done = run("extract", "n.tsv", "--id-column", "key", "--text-column", "report")
    assert [r["id"] for r in done.records] == ["7"]
    assert [e["text"] for e in done.records[0]["entities"]] == ["fever"]


def test_a_record_has_what_scripts_rely_on(run: Run, jsonl: Path) -> None:
    first, empty, *_ = run("extract", jsonl).records
    assert list(first) == ["id", "entities", "coverage", "bundle"]
    assert [(e["start"], e["end"], e["label"], e["text"]) for e in first["entities"]] == [
        (14, 23, "MEDICATION", "Metformin"),
        (28, 36, "DISEASE", "diabetes"),
    ]
    assert all(e["score"] == round(e["score"], 4) > 0.9 for e in first["entities"])
    assert re.fullmatch(r"sha256:[0-9a-f]{12}", first["bundle"])
    assert empty["id"] == "b"
    assert empty["entities"] == []
    assert empty["coverage"] == {"chars": 0, "read": 0, "windows": 0}


def test_words_and_progress_go_to_stderr_and_records_to_stdout(run, jsonl, expected, monkeypatch):
    ticks = itertools.count(0, 2)
    clock = SimpleNamespace(monotonic=lambda: next(ticks))
    monkeypatch.setattr("clin_edge.runtime.cli.time", clock)
    done = run("extract", jsonl, "--progress")
    assert done.out == expected
    assert "2 of 4 notes, " in done.err
    assert "min left" in done.err
    assert re.search(r"4 notes, \d+ words, \d+ entities in [\d.]+ s .*every character", done.err)
    assert SECRET not in done.err


def test_without_progress_only_the_summary_is_said(run: Run, jsonl: Path) -> None:
    for options in ([], ["--no-progress"]):
        done = run("extract", jsonl, *options)
        assert re.fullmatch(r"4 notes, [^\n]+; every character was read\n", done.err)


def test_of_stdin_no_total_is_promised(run: Run, jsonl: Path, monkeypatch) -> None:
    clock = SimpleNamespace(monotonic=itertools.count(0, 2).__next__)
    monkeypatch.setattr("clin_edge.runtime.cli.time", clock)
    done = run("extract", "-", "--progress", stdin=jsonl.read_bytes())
    assert "2 notes, " in done.err
    assert " of " not in done.err


def test_o_writes_a_file_and_nothing_to_stdout(run, tmp_path, jsonl, expected) -> None:
    done = run("extract", jsonl, "-o", tmp_path / "out.jsonl")
    assert (done.code, done.out) == (0, "")
    assert (tmp_path / "out.jsonl").read_bytes() == expected.encode()
    assert below(tmp_path) == {"notes.jsonl", "out.jsonl"}


def test_the_same_answer_whatever_the_engine_threads_and_batches(run, jsonl, expected) -> None:
    for options in (
        ["--engine", "onnxruntime"],
        ["--engine", "openvino", "--threads", "2"],
        ["--batch-tokens", "1"],
    ):
        assert run("extract", jsonl, *options).out == expected


def test_no_text_leaves_the_words_out(run: Run, jsonl: Path) -> None:
    done = run("extract", jsonl, "--no-text")
    assert [set(e) for r in done.records for e in r["entities"]]
    assert not any("text" in e for r in done.records for e in r["entities"])
    assert "Metformin" not in done.out


def test_min_score_leaves_out_what_is_less_sure(run: Run, jsonl: Path) -> None:
    everything = [e for r in run("extract", jsonl).records for e in r["entities"]]
    kept = [e for r in run("extract", jsonl, "--min-score", "0.5").records for e in r["entities"]]
    assert 0 < len(kept) < len(everything)
    assert kept == [e for e in everything if e["score"] >= 0.5]


def test_csv_and_brat_are_written(run: Run, tmp_path: Path, folder: Path) -> None:
    csv = run("extract", folder, "--format", "csv")
    assert csv.out.startswith("id,start,end,label,text,score\na,14,23,MEDICATION,Metformin,0.")
    done = run("extract", folder, "--format", "brat", "-o", "out")
    assert (done.code, done.out) == (0, "")
    read = read_labelled(tmp_path / "out")
    assert {item.note.id: item.note.text for item in read} == NOTES
    found = [[(e.span.start, e.span.end, e.label) for e in item.entities] for item in read]
    rows = [r["entities"] for r in run("extract", folder).records]
    assert found == [[(e["start"], e["end"], e["label"]) for e in row] for row in rows]


# --- extract: refusals ---------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["notes.jsonl", "./notes.jsonl", "link.jsonl", "x/../notes.jsonl"])
def test_an_output_that_is_an_input_is_refused(run: Run, tmp_path, jsonl, out: str) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "link.jsonl").symlink_to("notes.jsonl")
    before = jsonl.read_bytes()
    done = run("extract", tmp_path / "notes.jsonl", "-o", out)
    assert done.code == 3
    assert "would be overwritten by the output; choose another -o" in only_line(done)
    assert jsonl.read_bytes() == before


def test_what_is_left_of_an_earlier_run_may_be_an_input(run: Run, tmp_path: Path) -> None:
    """``OUT.partial`` is begun anew: not if the notes to read are in it."""
    rescued = as_folder(tmp_path / "out.partial")
    before = below(rescued)
    done = run("extract", "out.partial", "--format", "brat", "-o", "out")
    assert before <= (below(rescued) if rescued.exists() else set())
    assert done.code == 3


LONG = json.dumps({"id": "n", "text": SECRET * 20}).encode()
GOOD = as_jsonl({"n1": SECRET})
BAD_INPUTS = {
    "not JSON": ("n.jsonl", GOOD + b'{"id": "Zebulon\n', r"n\.jsonl:2: not JSON"),
    "no object": ("n.jsonl", b'\n\n["Zebulon"]\n', r"n\.jsonl:3: expected a JSON object"),
    "no text": ("n.jsonl", b'{"id": "n", "txt": "Zebulon"}', r"n\.jsonl:1: 'text' must be"),
    "number as id": ("n.jsonl", b'{"id": 1, "text": "Zebulon"}', r"n\.jsonl:1: 'id' must be"),
    "same id": ("n.jsonl", GOOD * 2, r"n\.jsonl:2: the id 'n1' came before"),
    "surrogate": ("n.jsonl", b'{"id":"n","text":"Zebulon \\ud800"}', r"n\.jsonl:1: the text has a"),
    "latin-1": ("n.txt", b"Zebulon \xe9t\xe9", r"n\.txt: not UTF-8 \(byte 0xe9 at offset 8\)"),
    "latin-1 line": ("n.jsonl", GOOD + b'{"id": "\xe9 Zebulon"}', r"n\.jsonl:2: not UTF-8"),
    "cut gzip": ("n.jsonl.gz", gzip.compress(GOOD)[:-9], r"n\.jsonl\.gz: cannot be read"),
    "no gzip": ("n.jsonl.gz", GOOD, r"n\.jsonl\.gz: cannot be read"),
    "no column": ("n.csv", b"id,note\n1,Zebulon\n", r"n\.csv:1: needs one column 'text'"),
    "no header": ("n.csv", b'7,"Zebulon has\npain"\n', r"n\.csv:1: needs one column 'id'"),
    "short row": ("n.csv", b"id,text\n1,a\nZebulon\n", r"n\.csv:3: 1 fields under a header of 2"),
    "open quote": ("n.csv", b'id,text\n1,"Zebulon\n', r"n\.csv:2: not a well-formed table"),
    "unknown kind": ("n.docx", b"Zebulon", r"n\.docx: not a kind of notes we read"),
    "nothing": ("n.jsonl", b"\n", r"n\.jsonl: holds no notes"),
    "too long": ("n.jsonl", GOOD + LONG, r"n\.jsonl:2: the note has 140 characters, more than"),
    "too long a file": ("n.txt", b"Zebulon" * 80, r"n\.txt: 560 bytes are more than the 100 char"),
}


@pytest.mark.parametrize(("name", "raw", "message"), BAD_INPUTS.values(), ids=BAD_INPUTS)
def test_bad_input_is_known_before_any_work(run, tmp_path, monkeypatch, name, raw, message) -> None:
    """Exit 3 and one line with file and line, though a thousand good notes come before it."""
    monkeypatch.setattr(Pipeline, "from_bundle", lambda *_, **__: pytest.fail("work was begun"))
    (tmp_path / "good.jsonl").write_bytes(as_jsonl({f"g{i}": "fever" for i in range(1000)}))
    (tmp_path / name).write_bytes(raw)
    (tmp_path / "out.jsonl").write_bytes(b"of yesterday")
    there = below(tmp_path)
    done = run("extract", "good.jsonl", name, "-o", "out.jsonl", "--max-note-chars", 100)
    assert done.code == 3
    assert re.match(message, only_line(done))
    assert below(tmp_path) == there
    assert (tmp_path / "out.jsonl").read_bytes() == b"of yesterday"


@pytest.mark.parametrize("place", ["none", "none.jsonl", "empty"])
def test_a_place_without_notes_is_named(run: Run, tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    done = run("extract", place)
    assert done.code == 3
    assert only_line(done).startswith(f"{place}: ")


def test_a_bad_line_on_stdin_comes_after_the_records_before_it(run: Run) -> None:
    done = run("extract", "-", "-o", "out.jsonl", stdin=GOOD + b"Zebulon\n")
    assert done.code == 3
    aside, error = done.err.splitlines()
    assert aside.endswith("the one record made before the failure is in out.jsonl.partial")
    assert error.startswith("clin-edge: stdin:2: not JSON")
    assert len(Path("out.jsonl.partial").read_text(encoding="utf-8").splitlines()) == 1
    assert not Path("out.jsonl").exists()


def test_a_note_as_long_as_allowed_is_read(run: Run, jsonl: Path) -> None:
    longest = max(map(len, NOTES.values()))
    assert run("extract", jsonl, "--max-note-chars", longest).code == 0
    done = run("extract", jsonl, "--max-note-chars", longest - 1)
    assert done.code == 3
    assert f":3: the note has {longest} characters, more than" in only_line(done)


def test_brat_on_stdout_is_refused(run: Run, jsonl: Path) -> None:
    done = run("extract", jsonl, "--format", "brat")
    assert done.code == 3
    assert "it needs -o FOLDER" in only_line(done)


def test_a_byte_order_mark_is_dropped_and_said(run: Run, tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_bytes(b"\xef\xbb\xbffever Zebulon")
    done = run("extract", "n.txt")
    assert done.records[0]["entities"][0]["start"] == 0
    assert "clin-edge: n.txt: dropped the byte-order mark at its start\n" in done.err
    assert SECRET not in done.err


# --- exit codes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [
        ["extract"],
        ["extract", "n", "--format", "xml"],
        ["extract", "n", "--threads", "0"],
        ["extract", "n", "--threads", "99999999999"],
        ["extract", "n", "--batch-tokens", "0"],
        ["extract", "n", "--min-score", "1.5"],
        ["extract", "n", "--min-score", "nan"],
        ["extract", "n", "--max-note-chars", "0"],
        ["extract", "n", "--engine", "torch"],
        ["extract", "n", "--unknown"],
        ["extrakt", "n"],
        ["verify", "a", "b"],
    ],
)
def test_wrong_usage_is_2(run: Run, args: list[str]) -> None:
    done = run(*args)
    assert done.code == 2
    assert done.out == ""
    assert "Usage: clin-edge" in done.err


@pytest.mark.usefixtures("jsonl")
@pytest.mark.parametrize("command", [["extract", "notes.jsonl", "--bundle"], ["verify"]])
def test_a_bundle_that_is_not_there_is_4(run: Run, command: list[str]) -> None:
    done = run(*command, "nowhere")
    assert done.code == 4
    assert only_line(done).startswith("nowhere: no such bundle")


@pytest.mark.usefixtures("jsonl")
@pytest.mark.parametrize("command", [["extract", "notes.jsonl", "--bundle"], ["verify"]])
def test_a_bundle_that_was_altered_is_4_and_nothing_is_written(run, tmp_path, command):
    toy_bundle(tmp_path / "b")
    with (tmp_path / "b/model.bin").open("r+b") as stream:
        stream.write(b"\x01")
    options = ["-o", "out.jsonl"] if command[0] == "extract" else []
    done = run(*command, "b", *options)
    assert done.code == 4
    assert only_line(done).startswith("b/model.bin: altered")
    assert "out.jsonl" not in str(below(tmp_path))


def test_an_engine_the_bundle_has_no_model_for_is_4(run: Run, tmp_path, jsonl) -> None:
    toy_bundle(tmp_path / "b")
    done = run("extract", jsonl, "--bundle", "b", "--engine", "onnxruntime")
    assert done.code == 4
    assert "b: has no model for onnxruntime" in only_line(done)


def test_an_engine_that_is_not_installed_is_5(run: Run, jsonl: Path, monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, "clin_edge.runtime.ort", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    done = run("extract", jsonl, "--engine", "onnxruntime")
    assert done.code == 5
    assert only_line(done) == (
        "onnxruntime is not installed; run: pip install 'clin-edge[onnxruntime]'"
    )


def test_threads_that_are_none_are_3(run: Run, jsonl: Path, monkeypatch) -> None:
    monkeypatch.setenv("CLIN_EDGE_THREADS", "many")
    done = run("extract", jsonl)
    assert done.code == 3
    assert only_line(done).startswith("CLIN_EDGE_THREADS='many': ")


def fail_after_one(error: BaseException):
    """Records that end in ``error`` after the first."""
    records = Pipeline.records

    def failing(self: Pipeline, notes: Sequence[Note], *, min_score: float = 0.0):
        yield next(iter(records(self, notes, min_score=min_score)))
        raise error

    return failing


def test_an_unexpected_failure_is_1_and_shows_where_but_not_what(run, jsonl, monkeypatch) -> None:
    """The message of a foreign exception may quote a note."""
    monkeypatch.setattr(Pipeline, "records", fail_after_one(RuntimeError(f"at {SECRET}")))
    done = run("extract", jsonl, "-o", "out.jsonl")
    assert done.code == 1
    kept, said = done.err.removesuffix("\n").split("\n")
    assert kept == "clin-edge: the one record made before the failure is in out.jsonl.partial"
    assert re.match(r"clin-edge: unexpected RuntimeError at test_cli\.py:\d+; this is a", said)
    assert SECRET not in done.err
    assert not Path("out.jsonl").exists()
    assert json.loads(Path("out.jsonl.partial").read_text())["id"] == "a"


@pytest.mark.usefixtures("run")
def test_debug_shows_everything_to_who_asks(jsonl: Path, monkeypatch) -> None:
    monkeypatch.setenv("CLIN_EDGE_DEBUG", "1")
    monkeypatch.setattr(Pipeline, "records", fail_after_one(RuntimeError("all of it")))
    with pytest.raises(RuntimeError, match="all of it"):
        main(["extract", str(jsonl)])


def test_an_interrupt_is_130_and_keeps_what_was_made(run: Run, jsonl: Path, monkeypatch) -> None:
    monkeypatch.setattr(Pipeline, "records", fail_after_one(KeyboardInterrupt()))
    done = run("extract", jsonl, "-o", "out.jsonl")
    assert done.code == 130
    assert done.err.rstrip().endswith("clin-edge: stopped")
    assert Path("out.jsonl.partial").exists()
    assert not Path("out.jsonl").exists()


# --- verify, help --------------------------------------------------------------------------------


def test_verify_prints_the_manifest_and_says_the_rest_on_stderr(run: Run, bundle: Path) -> None:
    for args in (["verify", bundle], ["verify"]):
        done = run(*args)
        assert done.code == 0
        assert done.out == (bundle / "manifest.json").read_text(encoding="utf-8")
        assert re.search(r"4 files, \d+\.\d MB, all as listed\nbundle sha256:\w{12}\n", done.err)


def test_verify_without_a_bundle_in_the_package_is_4(run, monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("CLIN_EDGE_BUNDLE")
    monkeypatch.setattr(pipeline, "DEFAULT_BUNDLE", tmp_path / "model")
    done = run("verify")
    assert done.code == 4
    assert "no such bundle" in only_line(done)


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("command", [None, *sorted(clin_edge.commands)])
def test_every_help_has_an_example_and_ends_well(run: Run, command: str | None, flag: str) -> None:
    done = run(*([command] if command else []), flag)
    assert (done.code, done.err) == (0, "")
    assert re.search(rf"Example:\n +clin-edge {command or 'extract'} ", done.out)
    assert max(map(len, done.out.splitlines())) <= 100


def test_every_example_in_a_help_is_a_command_with_options_that_there_are() -> None:
    for name, command in clin_edge.commands.items():
        examples = re.findall(r"clin-edge (.*)", (command.help or "").split("Example:")[1])
        known = {option for parameter in command.params for option in parameter.opts}
        known |= {o for parameter in command.params for o in parameter.secondary_opts}
        assert examples
        for told, *words in map(str.split, examples):
            assert told == name
            assert {word for word in words if word.startswith("-") and word != "-"} <= known


def test_the_version_is_told(run: Run) -> None:
    from clin_edge import __version__

    assert run("--version").out == f"clin-edge, version {__version__}\n"


# --- as a process of its own ---------------------------------------------------------------------


@pytest.fixture
def command(bundle: Path) -> Callable[..., dict]:
    """What ``subprocess`` needs to run ``clin-edge`` with the toy bundle."""
    env = {**os.environ, "CLIN_EDGE_BUNDLE": str(bundle), "CLIN_EDGE_THREADS": "1"}
    env.pop("CLIN_EDGE_DEBUG", None)

    def command(*args: object) -> dict:
        return {"args": [sys.executable, "-m", "clin_edge", *map(str, args)], "env": env}

    return command


def test_a_process_reads_stdin_and_writes_utf8_whatever_the_locale(command, expected) -> None:
    """One that knows ASCII only, as under cron."""
    settings = command("extract", "-")
    settings["env"] |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(**settings, input=as_jsonl(NOTES), capture_output=True, check=False)
    assert done.returncode == 0
    assert done.stdout == expected.encode()
    assert done.stderr.count(b"\n") == 1


def test_a_process_ends_with_the_exit_code(command) -> None:
    settings = command("extract", "-", "--bundle", "nowhere")
    done = subprocess.run(**settings, input=b"", capture_output=True, text=False, check=False)
    assert (done.returncode, done.stdout) == (4, b"")
    assert done.stderr.startswith(b"clin-edge: nowhere: no such bundle")


def test_a_reader_that_goes_away_is_not_complained_about(command, tmp_path: Path) -> None:
    many = {f"n{i}": "patient has fever and cough " * 20 for i in range(400)}
    (tmp_path / "n.jsonl").write_bytes(as_jsonl(many))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(**command("extract", tmp_path / "n.jsonl"), **pipes) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["id"] == "n0"
        process.stdout.close()
        said = process.stderr.read()
    assert said == b""
    assert process.returncode not in (0, 120)


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_stdout_is_one_line_and_3(command) -> None:
    with FULL.open("wb") as full:
        done = subprocess.run(
            **command("extract", "-"),
            input=as_jsonl(NOTES),
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    *_, last = done.stderr.decode().removesuffix("\n").split("\n")
    assert last.startswith("clin-edge: ")
    assert "No space left on device" in last
    assert b"Exception ignored" not in done.stderr
    assert SECRET not in done.stderr.decode()
    assert done.returncode == 3
