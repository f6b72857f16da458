"""No word of a note leaves by any door but the records, and nothing opens a connection."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from clin_edge.cli import main
from clin_edge.core.batching import Batch, Session
from clin_edge.core.encode import Encoder
from clin_edge.core.errors import ClinEdgeError
from clin_edge.core.notes import Note
from clin_edge.core.predict import Predictor
from clin_edge.runtime import Pipeline
from toy import ToySession, toy_bundle, toy_encoder, toy_scheme

SECRET = "Zebulon Quackenbush"
TEXT = f"{SECRET} has fever and takes metformin. " * 10


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy bundle for both engines."""
    return toy_bundle(tmp_path_factory.mktemp("privacy") / "b", "openvino", "onnxruntime").path


@pytest.fixture
def everything_said(monkeypatch, bundle, tmp_path) -> Iterator[list[str]]:
    """All that any logger says at any level; a folder to work in, and a bundle."""
    monkeypatch.setenv("CLIN_EDGE_BUNDLE", str(bundle))
    monkeypatch.setenv("CLIN_EDGE_THREADS", "1")
    monkeypatch.delenv("CLIN_EDGE_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)
    said: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(f"{record.getMessage()} {record.__dict__}")

    monkeypatch.setattr(logging.root, "handlers", [])
    ear = Ear()
    logger = logging.getLogger("clin_edge")
    monkeypatch.setattr(logger, "level", logging.DEBUG)
    logger.addHandler(ear)
    yield said
    logger.removeHandler(ear)


def line(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


# File name, its bytes, more options; how it ends.
FAILURES: dict[str, tuple[str, bytes, tuple[str, ...], int]] = {
    "broken JSON": ("n.jsonl", f'{{"id": "n", "text": "{SECRET}'.encode(), (), 3),
    "text where JSON should be": ("n.jsonl", TEXT.encode(), (), 3),
    "text as a list": ("n.jsonl", line(id="n", text=[TEXT]), (), 3),
    "text under another name": ("n.jsonl", line(id="n", note=TEXT), (), 3),
    "text as a key": ("n.jsonl", line(**{TEXT: 1}), (), 3),
    "no object": ("n.jsonl", json.dumps([TEXT]).encode(), (), 3),
    "same id": ("n.jsonl", line(id="n", text=TEXT) * 2, (), 3),
    "latin-1": ("n.txt", TEXT.encode() + b"\xe9", (), 3),
    "latin-1 in JSON": ("n.jsonl", b'{"id": "' + SECRET.encode() + b'\xe9"}', (), 3),
    "lone surrogate": ("n.jsonl", line(id="n", text=TEXT + "\ud800"), (), 3),
    "lone surrogate in the id": ("n.jsonl", line(id="n\ud800", text=TEXT), (), 3),
    "empty id": ("n.jsonl", line(id="", text=TEXT), (), 3),
    "too long": ("n.jsonl", line(id="n", text=TEXT), ("--max-note-chars", "9"), 3),
    "too long a file": ("n.txt", TEXT.encode(), ("--max-note-chars", "9"), 3),
    "no header": ("n.csv", f"1,{TEXT}\n".encode(), (), 3),
    "one cell only": ("n.csv", f"id,text\n{SECRET}\n".encode(), (), 3),
    "open quote": ("n.csv", f'id,text\n1,"{TEXT}\n'.encode(), (), 3),
    "quote inside": ("n.csv", f'id,text\n1,"{SECRET}"x"\n'.encode(), (), 3),
    "unknown kind": ("n.rtf", TEXT.encode(), (), 3),
    "no such column": ("n.csv", f"id,text\n1,{TEXT}\n".encode(), ("--text-column", "x"), 3),
    "no bundle": ("n.txt", TEXT.encode(), ("--bundle", "none"), 4),
    "no place to write": ("n.txt", TEXT.encode(), ("-o", "n.txt/out"), 3),
    "bad option": ("n.txt", TEXT.encode(), ("--threads", "x"), 2),
    "byte-order mark": ("n.txt", b"\xef\xbb\xbf" + TEXT.encode(), ("-o", "out"), 0),
    "all is well": ("n.jsonl", line(id="n", text=TEXT), ("-o", "out", "--progress"), 0),
}


@pytest.mark.parametrize(("name", "raw", "options", "code"), FAILURES.values(), ids=FAILURES)
def test_no_word_of_a_note_is_on_stderr_or_in_a_log(
    everything_said, capfd, name, raw, options, code
) -> None:
    Path(name).write_bytes(raw)
    with pytest.raises(SystemExit) as left:
        main(["extract", name, *options])
    assert (left.value.code or 0) == code
    out, err = capfd.readouterr()
    assert out == ""
    for door in (err, "\n".join(everything_said), str(left.value.__context__ or "")):
        assert not [word for word in SECRET.split() if word in door]


def break_session(monkeypatch, change: Callable[[np.ndarray, Batch], object]) -> None:
    """Let both engines' sessions answer what ``change`` makes of a toy answer."""

    class Broken(Session):
        name = "broken 1"

        def __init__(self, *_: object, **__: object) -> None:
            pass

        def run(self, batch: Batch) -> object:
            return change(ToySession().run(batch), batch)

    monkeypatch.setattr("clin_edge.runtime.worker.open_session", Broken)
    monkeypatch.setenv("CLIN_EDGE_WORKERS", "0")


def fail(_: np.ndarray, batch: Batch) -> object:
    raise RuntimeError(f"{SECRET} {batch.input_ids}")


BROKEN = {
    "NaN": lambda logits, _: logits * np.nan,
    "wrong shape": lambda logits, _: logits[:, :-1],
    "an exception that quotes the note": fail,
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_a_network_that_fails_tells_no_word(everything_said, capfd, monkeypatch, change) -> None:
    break_session(monkeypatch, change)
    Path("n.txt").write_text(TEXT)
    with pytest.raises(SystemExit) as left:
        main(["extract", "n.txt", "-o", "out"])
    assert left.value.code == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert not [word for word in SECRET.split() if word in err + "\n".join(everything_said)]


def test_a_window_that_is_lost_is_told_without_a_word(monkeypatch) -> None:
    monkeypatch.setattr("clin_edge.core.windows.plan_windows", lambda *_, **__: [])
    with pytest.raises(ClinEdgeError) as caught:
        list(Predictor(toy_encoder(), toy_scheme(), ToySession()).read([Note("n", TEXT)]))
    assert "Zebulon" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.usefixtures("everything_said")
def test_a_tokenizer_that_fails_on_a_note_tells_no_word(capfd, monkeypatch) -> None:
    def broken(_: Encoder, note: Note) -> None:
        raise ValueError(f"cannot encode {note.text!r}")

    monkeypatch.setattr(Encoder, "encode", broken)
    Path("n.txt").write_text(TEXT)
    with pytest.raises(SystemExit):
        main(["extract", "n.txt"])
    assert "Zebulon" not in "".join(capfd.readouterr())


def test_what_the_library_hands_out_shows_no_text_when_printed(bundle: Path) -> None:
    read = Pipeline.from_bundle(bundle, threads=1)
    note = Note("n", TEXT)
    (record,) = read.records([note])
    (reading,) = read.predictor.read([note])
    assert record.entities
    shown = [repr(thing) for thing in (note, record, reading, *record.entities, *reading.entities)]
    assert "Zebulon" not in "".join(shown)
    assert "metformin" not in "".join(shown)


def test_no_text_writes_no_word_anywhere(everything_said, capfd) -> None:
    Path("n.txt").write_text(TEXT)
    for fmt in ("jsonl", "csv"):
        with pytest.raises(SystemExit):
            main(["extract", "n.txt", "--no-text", "--format", fmt, "-o", f"out.{fmt}"])
        written = Path(f"out.{fmt}").read_text()
        assert "MEDICATION" in written
        assert not [word for word in (*SECRET.split(), "fever", "metformin") if word in written]
    assert "Zebulon" not in "".join(capfd.readouterr()) + "".join(everything_said)


# --- not one packet ------------------------------------------------------------------------------

WATCHED = """
import sys
happened = []
def watch(event, arguments):
    if event.startswith(("socket.", "urllib.", "http.", "ftplib.", "smtplib.")):
        happened.append(event)
    if event in ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"):
        happened.append(event)
    import os
    if event == "open" and isinstance(arguments[0], str) and (
        "w" in str(arguments[1] or "") or int(arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR)
    ):
        print("wrote", arguments[0], file=sys.stderr)
sys.addaudithook(watch)
if sys.argv[1] == "control":
    import socket
    socket.socket().close()
else:
    from clin_edge.cli import main
    try:
        main(sys.argv[1:])
    except SystemExit as left:
        assert not left.code, left.code
from concurrent.futures import thread
thread._python_exit()  # let whatever was queued come to its end
print("happened", happened, file=sys.stderr)
"""


def watched(
    *args: object, home: Path, bundle: Path, cache: str | None = ""
) -> tuple[str, list[str], list[str]]:
    """Stdout of a command, the files it opened for writing, and each call for a network.

    With ``cache`` None compiled models are kept where they are for a user who says nothing.
    """
    usual = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    usual |= {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    env = {
        **usual,
        "HOME": str(home),
        "LOCALAPPDATA": str(home),
        "CLIN_EDGE_BUNDLE": str(bundle),
        "CLIN_EDGE_THREADS": "1",
        "CLIN_EDGE_WORKERS": "0",  # all in the process that is watched
        "PYTHONDONTWRITEBYTECODE": "1",
        **({} if cache is None else {"CLIN_EDGE_CACHE": cache}),
    }
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
        env=env,
        cwd=home,
    )
    assert done.returncode == 0, done.stderr
    *lines, last = done.stderr.splitlines()
    wrote = [line.removeprefix("wrote ") for line in lines if line.startswith("wrote ")]
    return done.stdout, wrote, json.loads(last.removeprefix("happened ").replace("'", '"'))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home of one's own, with a note in it."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home/n.txt").write_text(TEXT)
    return tmp_path / "home"


def test_a_call_for_the_network_would_be_seen(home: Path, bundle: Path) -> None:
    _, _, happened = watched("control", home=home, bundle=bundle)
    assert "socket.__new__" in happened


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_extract_calls_nobody_and_writes_nothing_but_its_output(home, bundle, engine) -> None:
    args = ("extract", "n.txt", "--engine", engine)
    out, wrote, happened = watched(*args, "-o", "out.jsonl", home=home, bundle=bundle)
    assert happened == []
    assert out == ""
    assert {Path(path).name for path in wrote} == {"out.jsonl.partial", "out.jsonl.journal"}
    assert {path.name for path in home.rglob("*")} == {"n.txt", "out.jsonl"}
    record = json.loads((home / "out.jsonl").read_text(encoding="utf-8"))
    assert len(record["entities"]) == 20


def test_of_a_compiled_model_only_what_no_note_decides_is_kept(bundle: Path, tmp_path) -> None:
    kept = []
    for name, text in (("a", TEXT), ("b", "No fever. " * 3)):
        home = tmp_path / name
        home.mkdir()
        (home / "n.txt").write_text(text)
        args = ("extract", "n.txt", "--engine", "openvino", "-o", "out.jsonl")
        _, wrote, happened = watched(*args, home=home, bundle=bundle, cache=None)
        assert happened == []
        beside = {Path(path) for path in wrote} - {
            Path("out.jsonl.partial"),
            Path("out.jsonl.journal"),
        }
        assert {path.suffix for path in beside} == {".compiled"}
        (file,) = (path for path in home.rglob("*") if path.is_file() and path.parent != home)
        assert file.parent in {path.parent for path in beside}
        kept.append((file.name, file.read_bytes()))
    assert kept[0] == kept[1]
