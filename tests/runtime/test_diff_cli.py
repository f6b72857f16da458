"""clin-edge diff: table, JSON, verdict and exit code; no word of a note anywhere."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest

import toy
from cli_runs import Done, Run, as_folder, as_jsonl
from clin_edge import cli as command_line
from clin_edge.core.batching import Session
from clin_edge.core.bundle import Bundle
from clin_edge.core.labels import LabelScheme
from clin_edge.runtime.diff import MAX_CHANGE, MAX_LABEL_CHANGE, Changes, Diff, NoteChanges, Row
from clin_edge.runtime.diff_cli import diff, table
from clin_edge.runtime.pipeline import open_session
from tiny import cli

SECRET = "Zebulon"
NOTES = {
    "quiet": "Zebulon takes metformin for diabetes.",
    "ward/7": "Zebulon: chest pain, fever, asthma; took aspirin. Nausea.",
    "z": "",
}
WORDS = {word for text in NOTES.values() for word in re.findall("[a-z]+", text.lower())} - {"for"}
BUNDLES = Path("bundles")


def retrained(monkeypatch: pytest.MonkeyPatch, **roles: str) -> dict[str, bytes]:
    """The toy network for OpenVINO, in which some words play other words' roles."""
    vocab = toy.Tokenizer.from_buffer(toy.wordpiece_json()).get_vocab()
    weights = {name: array.copy() for name, array in toy.toy_weights().items()}
    for word, role in roles.items():
        weights["table"][vocab[word]] = weights["table"][vocab[role]]
    with monkeypatch.context() as patch:
        patch.setattr(toy, "toy_weights", lambda: weights)
        return toy.toy_openvino.__wrapped__()


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles: ``old``; ``again`` finds the same; ``new`` does not; ``other`` has other labels."""
    folder = tmp_path_factory.mktemp("diff") / "bundles"
    toy.toy_bundle(folder / "old", "openvino", "onnxruntime")
    toy.toy_bundle(folder / "again", version="2")
    with pytest.MonkeyPatch.context() as patch:
        new = {"pain": "the", "fever": "the", "asthma": "nausea", "took": "metformin"}
        toy.toy_bundle(folder / "new", files=retrained(patch, **new))
        toy.toy_bundle(folder / "deaf", files=retrained(patch, nausea="the"))
    toy.toy_bundle(folder / "other", scheme=LabelScheme(("MEDICATION", "DISEASE", "ADE")))
    return folder


@pytest.fixture
def run(monkeypatch, capsys, tmp_path: Path, bundles: Path) -> Run:
    """Run ``clin-edge diff`` in a folder with the bundles in ``bundles`` and notes in ``notes``."""
    monkeypatch.setenv("CLIN_EDGE_THREADS", "1")
    monkeypatch.setitem(command_line.clin_edge.commands, "diff", diff)
    monkeypatch.chdir(tmp_path)
    BUNDLES.symlink_to(bundles)
    as_folder(tmp_path / "notes", NOTES)

    def run(*args: object, stdin: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="ascii"))
        done = cli(monkeypatch, capsys, "diff", *args)
        said = (done.out + done.err).lower()
        assert SECRET.lower() not in said
        assert not WORDS.intersection(re.findall("[a-z]+", said))
        return Done(done.code, done.out, done.err)

    return run


OLD, AGAIN, NEW, DEAF, OTHER = (BUNDLES / name for name in ["old", "again", "new", "deaf", "other"])


def test_a_bundle_that_finds_the_same_passes(run: Run) -> None:
    done = run(OLD, AGAIN, "notes")
    assert done.code == 0
    assert done.out.startswith("3 notes, 0 of them with a change\n")
    assert done.err.splitlines()[-1] == "both bundles find the same 7 spans"
    assert "same bundle" not in done.err


def test_a_bundle_held_against_itself_is_told(run: Run) -> None:
    done = run(OLD, OLD, "notes")
    assert done.code == 0
    assert "OLD and NEW are the same bundle\n" in done.err


def test_a_changed_bundle_is_refused_with_a_table_of_what_changed(run: Run) -> None:
    done = run(OLD, NEW, "notes")
    assert done.code == 7
    lines = [line.split() for line in done.out.splitlines()]
    assert lines[0] == ["3", "notes,", "1", "of", "them", "with", "a", "change"]
    # chest pain is moved, fever lost, asthma relabelled, took gained.
    assert [line[:9] for line in lines[3:7]] == [
        ["MEDICATION", "2", "3", "2", "0", "0", "0", "0", "1"],
        ["DISEASE", "2", "1", "1", "0", "1", "0", "0", "0"],
        ["SYMPTOM", "3", "3", "1", "1", "0", "1", "1", "0"],
        ["all", "7", "7", "4", "1", "1", "1", "1", "1"],
    ]
    assert lines[6][9] == "0.5714"
    assert lines[8:] == [
        ["relabelled", "from,", "to"],
        ["1", "DISEASE,", "SYMPTOM"],
        [],
        ["changes", "moved", "relab.", "lost", "gained", "note"],
        ["4", "1", "1", "1", "1", "ward/7"],
    ]
    last = done.err.splitlines()[-1]
    assert last.startswith(f"clin-edge: {NEW}: 42.86 % of the spans differ (95 % interval ")
    assert ", above the limit of 1 %; " in last


def test_limits_and_the_number_of_notes_to_name_are_the_user_s(run: Run) -> None:
    done = run(OLD, NEW, "notes", "--max-change", "0.5", "--worst", "0")
    assert done.code == 0
    assert "ward/7" not in done.out
    last = done.err.splitlines()[-1]
    assert last.startswith("42.86 % of the spans differ ")
    assert last.endswith(": within the limit of 50 %")


def test_a_label_of_100_spans_is_judged_alone(run: Run) -> None:
    text = "no fever. " * 97 + "nausea. " * 3 + "diabetes. " * 200
    Path("n.jsonl").write_bytes(as_jsonl({"n": text}))
    done = run(OLD, DEAF, "n.jsonl", "--max-change", "0.01", "--max-label-change", "0.015")
    assert done.code == 7  # 3 of 597 spans in all, 3 of 197 of the label
    last = done.err.splitlines()[-1]
    assert last.startswith(f"clin-edge: {DEAF}: above the limit of 1.5 % for a label: SYMPTOM 1.52")
    assert run(OLD, DEAF, "n.jsonl").code == 0


SCHEMA = {
    **{"old": str, "new": str, "notes": int, "changed_notes": int},
    **{"labels_only_in_old": list, "labels_only_in_new": list, "total": dict, "labels": dict},
    **{"relabelled": dict, "worst": list, "gate": dict},
}
ROW = ["old", "new", "same", "moved", "relabelled_out", "relabelled_in", "lost", "gained"]
RATES = ["agreement", "agreement_low", "agreement_high"]


def test_json_has_what_scripts_rely_on_also_when_refused(run: Run) -> None:
    done = run(OLD, NEW, "notes", "--json")
    assert done.code == 7
    found = json.loads(done.out)
    assert {name: type(value) for name, value in found.items()} == SCHEMA
    assert found["old"].startswith("sha256:")
    assert found["old"] != found["new"]
    for row in (found["total"], *found["labels"].values()):
        assert list(row) == [*ROW, *RATES]
        assert all(type(row[name]) is int for name in ROW)
        assert all(0 <= row[name] <= 1 for name in RATES)
    assert list(found["labels"]) == list(toy.TYPES)
    assert [found["total"][name] for name in ROW] == [7, 7, 4, 1, 1, 1, 1, 1]
    assert found["relabelled"] == {"DISEASE": {"SYMPTOM": 1}}
    assert found["worst"] == [{"id": "ward/7", "moved": 1, "relabelled": 1, "lost": 1, "gained": 1}]
    assert found["gate"] == {
        "max_change": MAX_CHANGE,
        "max_label_change": MAX_LABEL_CHANGE,
        "change_exceeded": True,
        "labels_exceeded": [],
        "passed": False,
    }
    same = run(OLD, AGAIN, "notes", "--json")
    assert (same.code, json.loads(same.out)["gate"]["passed"]) == (0, True)


def test_bundles_of_other_labels_are_compared_and_it_is_said(run: Run) -> None:
    done = run(OLD, OTHER, "notes", "--json")
    found = json.loads(done.out)
    assert (found["labels_only_in_old"], found["labels_only_in_new"]) == (["SYMPTOM"], ["ADE"])
    assert found["relabelled"] == {"SYMPTOM": {"ADE": 3}}
    assert "only OLD knows SYMPTOM: compared over the labels of both\n" in done.err
    assert "only NEW knows ADE: compared over the labels of both\n" in done.err


def test_nothing_found_is_said_and_passes(run: Run) -> None:
    Path("n.jsonl").write_bytes(as_jsonl({"n": "the patient has no history of note"}))
    done = run(OLD, NEW, "n.jsonl", "--max-change", "0")
    assert done.code == 0
    assert "neither bundle finds anything in these notes" in done.err.splitlines()[-1]


def test_notes_come_in_as_for_extract(run: Run) -> None:
    first = run(OLD, NEW, "notes")
    assert run(OLD, NEW, "-", stdin=as_jsonl(NOTES)).out == first.out
    rows = "".join(f'{key}\t"{text}"\n' for key, text in NOTES.items())
    Path("n.tsv").write_text(f"key\treport\n{rows}")
    named = run(OLD, NEW, "n.tsv", "--id-column", "key", "--text-column", "report")
    assert named.out == first.out


ODD = b'{"id": "n", "text": "Zebulon", }'
FAILURES: dict[str, tuple[int, tuple[object, ...], bytes]] = {
    "no notes named": (2, (OLD, NEW), b""),
    "a limit that is no share": (2, (OLD, NEW, "notes", "--max-change", "1.5"), b""),
    "a limit that is no number": (2, (OLD, NEW, "notes", "--max-label-change", "nan"), b""),
    "notes that are not there": (3, (OLD, NEW, "nowhere"), b""),
    "an empty stdin": (3, (OLD, NEW, "-"), b""),
    "a bad line": (3, (OLD, NEW, "-"), as_jsonl({"a": "Zebulon has fever"}) + ODD),
    "too long a note": (3, (OLD, NEW, "notes", "--max-note-chars", "20"), b""),
    "no bundle": (4, (OLD, "notes", "notes"), b""),
    "no such bundle": (4, (BUNDLES / "older", NEW, "notes"), b""),
    "no model for the engine": (4, (OLD, NEW, "notes", "--engine", "onnxruntime"), b""),
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_cannot_be_done_is_told_by_exit_code(run: Run, name: str) -> None:
    code, args, stdin = FAILURES[name]
    done = run(*args, stdin=stdin)
    assert (done.code, done.out) == (code, "")
    assert "unexpected" not in done.err


def test_an_altered_bundle_is_refused(run: Run, tmp_path: Path) -> None:
    made = toy.toy_bundle(tmp_path / "altered", version="3").path
    with (made / "model.bin").open("ab") as stream:
        stream.write(b"\0")
    done = run(OLD, made, "notes")
    assert (done.code, done.out) == (4, "")


def test_both_models_run_on_the_engine_and_threads_asked_for(run: Run, monkeypatch) -> None:
    asked = []

    def spy(bundle: Bundle, *, engine: str, threads: int) -> Session:
        asked.append((engine, threads))
        return open_session(bundle, engine=engine, threads=threads)

    monkeypatch.setattr("clin_edge.runtime.pipeline.open_session", spy)
    done = run(OLD, OLD, "notes", "--engine", "onnxruntime", "--threads", "2")
    assert done.code == 0
    assert asked == [("onnxruntime", 2)] * 2


def test_an_id_cannot_write_to_the_terminal(run: Run) -> None:
    Path("n.jsonl").write_bytes(as_jsonl({"a\x1b[2J\nb": "took aspirin"}))
    done = run(OLD, NEW, "n.jsonl")
    assert done.out.splitlines()[-1].endswith(r"  'a\x1b[2J\nb'")


def test_the_table_is_never_wider_than_100_columns() -> None:
    big = Row(Changes(123_456, 12_345, 12_345, 12_345, 12_345, 12_345), 0.0, 1.0)
    name = "A_LABEL_OF_FORTY_CHARACTERS_AND_SOME_MORE"
    worst = (NoteChanges("n" * 40, 1_000, 1_000, 1_000, 1_000),)
    lines = table(Diff({name: big}, big, {("A", "B"): 9_999}, worst, 99_999, 9_999, (), ()))
    assert max(map(len, lines)) <= 100
    head, row = (line for line in lines if "agree" in line or name[:18] in line)
    assert len(head) == len(row)


def test_the_defaults_shown_are_those_of_the_library() -> None:
    shown = {option.name: option.default for option in diff.params}
    assert (shown["max_change"], shown["max_label_change"]) == (MAX_CHANGE, MAX_LABEL_CHANGE)
