"""``clin-edge label`` with language models, as a user meets it."""

from __future__ import annotations

import io
import json
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from clin_edge.cli import main
from llm_runs import KEY, LABELS, SPECS, answers, marked, rows, write_labelled, write_notes
from llm_server import LlmServer

pytestmark = pytest.mark.usefixtures("llm_env")

ROOT = Path(__file__).resolve().parents[2]
ITEMS = [
    marked("a", "Zebulon took [aspirin|MEDICATION]."),
    marked("b", "Quackenbush has [gout|DISEASE]."),
    marked("c", "Miller is well."),
]


@pytest.fixture
def notes(tmp_path: Path) -> str:
    return write_notes(tmp_path / "notes.jsonl", ITEMS)


def label(*args: object) -> int:
    """The exit code of ``clin-edge label``."""
    with pytest.raises(SystemExit) as left:
        main(["label", *map(str, args), "--labels", ",".join(LABELS)])
    return int(left.value.code or 0)


def test_a_run_tells_what_it_did_and_no_word_of_a_note(notes, tmp_path, capfd, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    out = tmp_path / "out"
    bad = ITEMS[1].note.text
    with LlmServer(answers(ITEMS)) as server:
        server.misbehave(lambda r: "fenced_in_prose" if r.note != bad else "wrong_labels")
        teachers = [x for spec in SPECS.values() for x in ("--teacher", spec)]
        code = label(notes, "-o", out, *teachers, "--base-url", server.openai_url)
        assert len(server.requests) == 2 * (1 + 3 + 1)
    said = capfd.readouterr()
    assert (code, said.out) == (8, "")
    assert said.err.splitlines()[:4] == [
        f"{out / 'openai-toy'}.jsonl: 0 DISEASE, 1 MEDICATION",
        "  quotes placed: 1 exact",
        said.err.splitlines()[2],
        f"  1 of 3 notes set aside, see {out / 'quarantine' / 'openai-toy.jsonl'}: "
        "1 no entry with a quote and a label asked for",
    ]
    assert said.err.splitlines()[2].startswith("  5 replies, ")
    told = said.err + caplog.text + str([record.__dict__ for record in caplog.records])
    for word in ("Zebulon", "Quackenbush", "Miller", "aspirin", "gout", "BANANA", "Sure!", KEY):
        assert word not in told
    assert rows(out / "openai-toy.jsonl")[0]["text"] == ITEMS[0].note.text
    assert (out / "replies").stat().st_mode & 0o777 == 0o700


def test_no_usable_answer_at_all_is_one_line(notes, tmp_path, capfd) -> None:
    with LlmServer(answers(ITEMS)) as server:
        server.misbehave(lambda _: "prose")
        code = label(
            notes, "-o", tmp_path / "o", "--teacher", "openai:toy", "--base-url", server.openai_url
        )
    (line,) = capfd.readouterr().err.splitlines()
    assert code == 6
    assert line == ("clin-edge: openai-toy: no usable answer to any of 3 notes, mostly: no JSON")


def test_a_ceiling_that_is_too_low_is_one_line(notes, tmp_path, capfd) -> None:
    with LlmServer(answers(ITEMS)) as server:
        args = (notes, "-o", tmp_path / "o", "--teacher", "openai:toy")
        code = label(*args, "--base-url", server.openai_url, "--max-tokens-total", 100)
        assert not server.requests
    (line,) = capfd.readouterr().err.splitlines()
    assert code == 6
    assert "the ceiling of cost or tokens is reached" in line


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "x"])
def test_what_is_no_ceiling_is_refused(notes, tmp_path, capfd, value) -> None:
    args = (notes, "-o", tmp_path / "o", "--teacher", "openai:toy", "--max-cost", value)
    assert label(*args) in (2, 3)
    assert "--max-cost" in capfd.readouterr().err


def test_a_dry_run_sends_nothing_makes_nothing_and_needs_no_leave(
    notes, tmp_path, capfd, monkeypatch
) -> None:
    for name in ("OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(socket, "getaddrinfo", None)
    monkeypatch.setattr(socket, "socket", None)
    out = tmp_path / "out"
    specs = ("--teacher", "openai:gpt-4o-mini", "--teacher", "gemini:gemini-2.0-flash")
    assert label(notes, "-o", out, *specs, "--teacher", "sig", "--dry-run") == 0
    said = capfd.readouterr()
    assert said.out == ""
    first, second = said.err.splitlines()
    assert first.startswith(
        "openai-gpt-4o-mini: 3 requests to api.openai.com, 0 answered before; about "
    )
    assert second.startswith("gemini-gemini-2.0-flash: 3 requests to generativelanguage.googleapis")
    assert "$0.00" in first
    assert not out.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["notes.jsonl"]


def test_a_dry_run_counts_what_is_kept(notes, tmp_path, capfd) -> None:
    out = tmp_path / "out"
    with LlmServer(answers(ITEMS)) as server:
        args = (notes, "-o", out, "--teacher", "openai:toy", "--base-url", server.openai_url)
        assert label(*args) == 0
        before = sorted(path.name for path in out.rglob("*"))
        capfd.readouterr()
        assert label(*args, "--dry-run") == 0
        assert len(server.requests) == 3
    assert capfd.readouterr().err == (
        "openai-toy: 0 requests to 127.0.0.1, 3 answered before; about 0 tokens and $0.0000, "
        "at most $0.0000 if no answer is broken\n"
    )
    assert {name for name in before if "sqlite" not in name} == {
        path.name for path in out.rglob("*") if "sqlite" not in path.name
    }


def test_a_dry_run_without_a_language_model(notes, tmp_path, capfd) -> None:
    assert label(notes, "-o", tmp_path / "o", "--teacher", "sig", "--dry-run") == 0
    assert capfd.readouterr().err == "nothing would be sent: no teacher is a language model\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_is_shown_on_a_terminal_only(notes, tmp_path, monkeypatch, terminal) -> None:
    stderr = Terminal() if terminal else io.StringIO()
    prices = tmp_path / "p.toml"
    prices.write_text("[models.toy]\ninput = 900.0\ncached = 9.0\noutput = 900.0\n")
    with LlmServer(answers(ITEMS)) as server, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        args = (notes, "-o", tmp_path / "o", "--teacher", "openai:toy", "--prices", prices)
        assert label(*args, "--base-url", server.openai_url) == 0
    said = stderr.getvalue()
    assert ("3/3" in said) is terminal
    first, *_ = lines = said.split("\n")
    assert len(lines) == 4 + terminal
    if terminal:
        bar = first.rpartition("\r")[2]
        assert "$" in bar
        assert "$0.00" not in bar
    assert "Zebulon" not in said


@pytest.mark.parametrize(
    ("option", "text", "sent"),
    [
        (
            "--prompt",
            'name="p"\ndefault=["DISEASE"]\ntask="T!"\nanswer=""\nrules=""\n[labels]\n',
            "T!",
        ),
        ("--examples", "", "Has measles."),
    ],
)
def test_files_of_the_users_own_are_sent(notes, tmp_path, option, text, sent) -> None:
    path = tmp_path / "own"
    if text:
        path.write_text(text + "".join(f'{name} = "x"\n' for name in LABELS))
    else:
        path = write_labelled(tmp_path / "own.jsonl", [marked("x", "Has [measles|DISEASE].")])
    with LlmServer(answers(ITEMS)) as server:
        args = (notes, "-o", tmp_path / "o", "--teacher", "openai:toy", option, path)
        assert label(*args, "--base-url", server.openai_url) == 0
        assert all(sent in request.messages[0][1] for request in server.requests)


def test_occurrences_all_marks_every_place(tmp_path) -> None:
    item = marked("a", "Took zinc, then more zinc.")
    notes = write_notes(tmp_path / "n.jsonl", [item])
    answer = json.dumps({"entities": [{"near": "Took", "quote": "zinc", "label": "MEDICATION"}]})
    with LlmServer(lambda _: answer) as server:
        for way, n in (("claimed", 1), ("all", 2)):
            args = (notes, "-o", tmp_path / "o", "--teacher", "openai:toy", "--occurrences", way)
            assert label(*args, "--base-url", server.openai_url) == 0
            (row,) = rows(tmp_path / "o" / "openai-toy.jsonl")
            assert len(row["entities"]) == n
        assert len(server.requests) == 1


WITHOUT = """
import json, sys
for name in json.loads(sys.argv.pop(1)):
    sys.modules[name] = None
from clin_edge.cli import main
try:
    main(sys.argv[1:])
finally:
    heavy = ("numpy", "openai", "google", "httpx2", "torch", "sqlite3")
    print("loaded", [name for name in heavy if sys.modules.get(name)])
"""


def without(missing: list[str], *args: object) -> subprocess.CompletedProcess[str]:
    """Run a command in an interpreter that lacks some packages."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, json.dumps(missing), *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )


@pytest.mark.parametrize(
    ("spec", "missing", "named"),
    [
        ("openai:toy", ["openai", "google", "google.genai", "httpx2"], "httpx2"),
        ("gemini:toy", ["google.genai"], "google.genai"),
    ],
)
def test_a_missing_client_is_the_pip_line(notes, tmp_path, spec, missing, named) -> None:
    base = ("--base-url", "http://127.0.0.1:9/v1")
    done = without(missing, "label", notes, "-o", tmp_path / "o", "--teacher", spec, *base)
    assert done.returncode == 5
    assert done.stderr == (
        f"clin-edge: {named} is not installed; run: pip install 'clin-edge[teachers]'\n"
    )


def test_other_teachers_need_no_client(notes, tmp_path) -> None:
    missing = ["openai", "google", "google.genai", "httpx2"]
    done = without(missing, "label", notes, "-o", tmp_path / "o", "--teacher", "sig")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "o" / "sig.jsonl").exists()


@pytest.mark.parametrize("args", [("--help",), ("label", "--help")])
def test_help_loads_nothing_heavy(args) -> None:
    done = without([], *args)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "loaded []"
